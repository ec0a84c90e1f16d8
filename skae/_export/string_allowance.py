"""A limit of the memory that the arrays of strings in a file may take."""

import numpy as np

# NumPy pads the strings of an array to one width, so that a small file could take any amount of
# memory. The arrays of a file may have this many times the characters of their strings, each with a
# separator, and together so many characters more.
MAX_PADDING, MAX_MORE_CHARACTERS = 4, 2**23


class StringAllowance:
    """The memory that the arrays of strings in a file may take."""

    def __init__(self) -> None:
        self.left = MAX_MORE_CHARACTERS

    def take(self, strings: list[str], dtype: np.dtype) -> bool:
        """Whether an array of this dtype may be made; if so, its memory is counted."""
        if dtype.kind == "O":
            return True
        width = max([dtype.itemsize // 4, *map(len, strings)])
        more = width * len(strings) - MAX_PADDING * (sum(map(len, strings)) + len(strings))
        if more > self.left:
            return False
        self.left -= max(more, 0)
        return True
