/* Long names can be broken after a dot, an underscore or a bracket, and between words of a class,
   but not within a number. */
const NAMES =
  ".bd-article :is(h1, h2, h3, dt, code), .bd-sidebar-primary a, .bd-sidebar-secondary a, .prev-next-title";
const LONG = /\S{18,}/g;
const BREAKS = /(?<=[._(=,])(?<!\d\.)(?=[\w"])|(?<=[a-z])(?=[A-Z])/g;

function allowBreaks(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  for (const text of texts) {
    const parts = text.data.replace(LONG, (name) => name.replace(BREAKS, "\0")).split("\0");
    text.replaceWith(...parts.flatMap((part, i) => (i ? [document.createElement("wbr"), part] : [part])));
  }
}

/* The style sheet adds a hint to tables and printed output that are wider than the window. */
const SCROLLABLE = ".bd-article .pst-scrollable-table-container, .bd-article .highlight";

function markWide(element) {
  const scrolled = element.querySelector(":scope > pre") || element;
  element.classList.toggle("is-wide", scrolled.scrollWidth > scrolled.clientWidth + 1);
}

function markAllWide() {
  document.querySelectorAll(SCROLLABLE).forEach(markWide);
}

/* A figure that is reduced to the width of the text, as on a phone, links to its file. */
function linkFigure(image) {
  if (image.closest("a") || image.naturalWidth <= image.clientWidth) return;
  const link = document.createElement("a");
  link.href = image.src;
  image.replaceWith(link);
  link.append(image);
}

document.querySelectorAll(NAMES).forEach(allowBreaks);
window.addEventListener("load", markAllWide);
window.addEventListener("load", () => document.querySelectorAll(".bd-article img").forEach(linkFigure));
window.addEventListener("resize", markAllWide);
