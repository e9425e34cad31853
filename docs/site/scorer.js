// What a search lists first: headings with the words, then guides; lists and records of decisions last.
const words = (new URLSearchParams(window.location.search).get("q") || "").trim().toLowerCase();
var Scorer = {
  score: ([page, title, anchor, text, score]) =>
    score
    + (words && title.toLowerCase().includes(words) ? 20 : 0)
    + (/^(how-to|tutorial)/.test(page) ? 20 : 0)
    - (/(^|\/)index$/.test(page) ? 20 : 0)
    - (/^(adr|project\/changelog)/.test(page) ? 20 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
