"""Custom objects: user-defined classes and functions, which files refer to by name."""

from collections.abc import Callable, Iterable
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    LabelBinarizer,
    LabelEncoder,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from torch import nn

from .._autoencoders.base import BaseAutoencoder
from .._data.messages import described

# These may stand beside estimators of this package, or in them. Their states are numbers, strings
# and arrays, and functions only if they are custom objects.
SCIKIT_LEARN: tuple[type[BaseEstimator], ...] = (
    ColumnTransformer,
    FrozenEstimator,
    FunctionTransformer,
    LabelBinarizer,
    LabelEncoder,
    LogisticRegression,
    MaxAbsScaler,
    MinMaxScaler,
    MissingIndicator,
    OneHotEncoder,
    OrdinalEncoder,
    PCA,
    Pipeline,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
)
WITH_DEF = "define a function with `def` instead of `lambda`"

CustomObject = type | Callable[..., Any]


class CustomObjectsError(ValueError):
    """The custom objects are not those with which a file was saved."""


class CustomObjects:
    """User-defined classes and functions, which files refer to by name."""

    def __init__(self, objects: Iterable[CustomObject]):
        self.by_name: dict[str, CustomObject] = {}
        if isinstance(objects, str | type) or not isinstance(objects, Iterable):
            raise TypeError(
                "`custom_objects` must be a list of classes and functions, got "
                f"{described(objects)}."
            )
        for thing in objects:
            name = getattr(thing, "__name__", None)
            if not (callable(thing) and isinstance(name, str)):
                raise TypeError(
                    "`custom_objects` must hold classes and functions, got "
                    f"{described(thing)} in it."
                )
            if not name.isidentifier():
                raise TypeError(
                    f"`custom_objects` must hold functions and classes that have a name, got "
                    f"{thing!r} in it; {WITH_DEF}."
                )
            if self.by_name.setdefault(name, thing) is not thing:
                raise ValueError(
                    f"`custom_objects` must have a different name each, got two named {name!r}."
                )

    def __contains__(self, value: object) -> bool:
        return callable(value) and self.by_name.get(getattr(value, "__name__", "")) is value

    @property
    def modules(self) -> dict[str, type[nn.Module]]:
        """The classes of layers, by name."""
        return {
            name: thing
            for name, thing in self.by_name.items()
            if isinstance(thing, type) and issubclass(thing, nn.Module)
        }

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the names that are neither listed nor names of subclasses of autoencoders."""
        unlisted = [name for name in names if name not in self.by_name]
        return [n if n.isidentifier() else repr(n) for n in unlisted if not subclasses_named(n)]

    def estimator_class(self, name: str, base: type[BaseEstimator]) -> type[BaseEstimator]:
        """Return the listed class, or the subclass of an autoencoder, that has the name."""
        found = [self.by_name[name]] if name in self.by_name else subclasses_named(name)
        if len(found) > 1:
            classes = ", ".join(f"{cls.__module__}.{cls.__qualname__}" for cls in found)
            raise CustomObjectsError(f"list one of the classes named {name}, which are {classes}")
        (cls,) = found
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise CustomObjectsError(
                f"{name} must be the class of the estimator that was saved, which is derived from "
                f"{base.__name__}, got {cls!r}"
            )
        return cls


def autoencoder_classes() -> list[type[BaseAutoencoder]]:
    """The autoencoders of this package, and the subclasses that the running program has defined."""
    known_classes()  # imports those of this package
    found = BaseAutoencoder.__subclasses__()
    for cls in found:
        found += cls.__subclasses__()
    return list(dict.fromkeys(found))  # a class may be found by several bases


def subclasses_named(name: str) -> list[type[BaseAutoencoder]]:
    """Return the user-defined subclasses of autoencoders that have the name.

    If a class was defined again, as in a notebook, this is the last definition.
    """
    named = (cls for cls in autoencoder_classes() if cls.__name__ == name)
    own = (cls for cls in named if cls.__module__.split(".")[0] != "skae")
    return list({(cls.__module__, cls.__qualname__): cls for cls in own}.values())


def known_classes() -> dict[str, type[BaseEstimator]]:
    """The estimators that every file may contain, by name."""
    import skae  # the public names; not before all modules are there

    public = [getattr(skae, name) for name in skae.__all__]
    ours = [cls for cls in public if isinstance(cls, type) and issubclass(cls, BaseEstimator)]
    return {cls.__name__: cls for cls in (*ours, *SCIKIT_LEARN)}


def public_base(cls: type[BaseEstimator]) -> str:
    """Return the name of the first class in the MRO that is public."""
    return next(base.__name__ for base in cls.__mro__ if base_classes().get(base.__name__) is base)


def base_classes() -> dict[str, type[BaseEstimator]]:
    """The classes that custom estimators may be derived from, by name."""
    return {cls.__name__: cls for cls in (BaseAutoencoder, BaseEstimator)} | known_classes()
