// What Python put into the page, and questions to it.

const data = JSON.parse(document.getElementById("data").textContent);
const DETECTED = 0, UNDETECTED = 1;

function letter(type) {
  return data.types[type][0].toUpperCase();
}

function pictureUrl(place) {
  return data.pictures[place] === null ? null : `data:image/jpeg;base64,${data.pictures[place]}`;
}

function number(value) {
  // Three digits that count, without an exponent.
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value) >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();
  return text.replace("-", "−");
}

function share(value) {
  return value === null || value === undefined ? "?" : value.toFixed(2);
}

function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

function plain(candidate) {
  return (candidate.sentences || []).flatMap(({ pieces }) => pieces.map(([text]) => text)).join("");
}

function ranked(image) {
  // The winner, then by penalty; last what could not be taken.
  const key = (one) => (one.number === image.winner ? -Infinity : one.total === null || one.reason ? Infinity : one.total);
  return [...image.candidates].sort((a, b) => (key(a) === key(b) ? a.number - b.number : key(a) - key(b)));
}

function worstError(errors) {
  // The type with the highest probability, or -1 where nobody told.
  return errors === null ? -1 : errors.indexOf(Math.max(...errors));
}

function badgesOf(image, candidate) {
  const { number: n } = candidate;
  return [
    n === image.winner ? ["winner", image.tied > 1 ? `winner, tied with ${image.tied - 1}` : "winner"] : null,
    n === image.worst ? ["worst", "worst"] : null,
    n === image.random ? ["arm", "random pick"] : null,
    candidate.reason ? ["refused", `not taken: ${candidate.reason}`] : null,
  ].filter(Boolean);
}

data.images.forEach((image, place) => {
  image.place = place;
  image.words = [image.id, ...(image.objects || []), ...image.things.map(([name]) => name),
    ...image.candidates.map(plain)].join(" ");
});
