// Which card comes when: the same for one annotator every time, another for everybody else.

function mixed(text) {
  // FNV-1a over the bytes, then a finishing mix: without it the last letters hardly count.
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function orderFor(annotator) {
  // Tokens are drawn from the seed and the sample's id, so the order is of seed and name.
  const keyed = data.cards.map((card) => [mixed(`${annotator}\n${card.token}`), card]);
  keyed.sort(([a, one], [b, other]) => a - b || (one.token < other.token ? -1 : 1));
  return keyed.map(([, card]) => card);
}

function nameOf(text) {
  return text.normalize("NFC").trim().replace(/\s+/g, " ");
}
