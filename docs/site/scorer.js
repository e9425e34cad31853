// What a search lists first: guides before records of decisions and changes, if both match alike.
var Scorer = {
  score: ([page, title, anchor, text, score]) =>
    score + (/^(how-to|tutorial|questions)/.test(page) ? 4 : /^(adr|project\/changelog)/.test(page) ? -20 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
