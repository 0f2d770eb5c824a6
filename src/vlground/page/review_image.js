// One image: its photo, what was taken and why, and all candidates.

function boxesOf(place, thing, photo) {
  // Boxes of a noun over the photo, in parts of its size.
  const [width, height] = data.images[place].size;
  const [name, presence, boxes] = data.images[place].things[thing];
  const missed = presence === null || presence <= data.thresholds.noun;
  photo.replaceChildren(...boxes.map(([x0, y0, x1, y1, score]) => {
    const box = el("div", { class: missed ? "box missed" : "box" }, el("span", null, `${name} ${share(score)}`));
    Object.assign(box.style, { left: `${(100 * x0) / width}%`, top: `${(100 * y0) / height}%`,
      width: `${(100 * (x1 - x0)) / width}%`, height: `${(100 * (y1 - y0)) / height}%` });
    return box;
  }));
}

function thingText(image, thing) {
  const [name, presence, boxes] = image.things[thing];
  const drawn = boxes.length ? `, ${plural(boxes.length, "box").replace("boxs", "boxes")}` : "";
  if (presence === null) return `${name}: the detector cannot tell`;
  return `${name}: ${presence > data.thresholds.noun ? "detected" : "not detected"}, probability ${share(presence)}${drawn}`;
}

function noun(image, text, thing, state, layer) {
  const kind = state === DETECTED ? "noun" : state === UNDETECTED ? "noun undetected" : "noun untold";
  const mark = state === DETECTED ? null
    : el("sup", null, state === UNDETECTED ? share(image.things[thing][1]) : "?");
  return el("span", { class: kind, title: thingText(image, thing), "data-thing": thing,
    mouseenter: () => layer.show(thing), mouseleave: () => layer.show(null) }, text, mark);
}

function sentence(image, one, layer, removed = false) {
  // The white space between sentences belongs to none of them.
  const space = one.pieces.length ? /\s*$/.exec(one.pieces.at(-1)[0])[0] : "";
  const words = one.pieces.map(([text, thing, state], place) => {
    if (thing >= 0) return noun(image, text, thing, state, layer);
    return place === one.pieces.length - 1 ? text.slice(0, text.length - space.length) : text;
  });
  return [marked(one, words, removed ? "del" : "span"), space];
}

function marked(one, words, tag) {
  if (one.errors === null) {
    const hint = data.asked.sentences ? "no score" : null;
    return el(tag, { class: hint ? "sentence unscored" : "sentence", title: hint }, words);
  }
  const type = worstError(one.errors);
  const told = data.types.map((name, i) => `${name} ${share(one.errors[i])}`).join("\n");
  const element = el(tag, { class: `sentence error-${type}`, title: told }, words,
    one.wrong.map((i) => el("b", { class: `letter error-${i}`, "aria-label": data.types[i] }, letter(i))));
  element.style.setProperty("--strength", one.errors[type]);
  return element;
}

function stream(name, raw, penalty, counts) {
  const text = counts ? `${number(raw)} → ${number(penalty)}` : raw === null ? "–" : `${number(raw)}, does not count`;
  return el("div", null, el("dt", null, name), el("dd", null, text));
}

function candidateCard(image, one, layer) {
  const badges = badgesOf(image, one).map(([kind, text]) => el("span", { class: `badge ${kind}` }, text));
  const counts = (name) => data.streams.includes(name);
  const words = plain(one).split(/\s+/).filter(Boolean).length;
  const head = el("div", { class: "candidate-head" }, el("h3", null, `Candidate ${one.number}`), badges);
  if (!one.sentences) return el("section", { class: "candidate" }, head, el("p", { class: "quiet" }, "There is no caption."));
  return el("section", { class: one.number === image.winner ? "candidate won" : "candidate" }, head,
    el("dl", { class: "held" },
      el("div", { class: "total" }, el("dt", null, "penalty"), el("dd", null, number(one.total))),
      stream("sentences H", one.raw[0], one.penalties[0], counts("sentences")),
      stream("nouns D", one.raw[1], one.penalties[1], counts("nouns")),
      el("div", null, el("dt", null, "words"), el("dd", null, String(words)))),
    el("p", { class: "caption", dir: "auto" }, one.sentences.length ? one.sentences.map((s) => sentence(image, s, layer))
      : el("span", { class: "quiet" }, "(empty)")));
}

function refined(image, layer) {
  const winner = image.candidates.find((one) => one.number === image.winner);
  if (!winner) return null;
  const removed = new Set(image.removed);
  const many = removed.size ? `${plural(removed.size, "sentence")} removed` : "nothing removed";
  const notes = [many, image.spared ? `${image.spared} spared by keep_at_least` : "", image.emptied ? "nothing is left" : ""];
  return el("section", { class: "refined" }, el("h3", null, "Refined caption ",
    el("span", { class: image.emptied ? "badge worst" : "quiet" }, notes.filter(Boolean).join(", "))),
  el("p", { class: "caption", dir: "auto" }, winner.sentences.map((s, i) => sentence(image, s, layer, removed.has(i)))));
}

function chips(image, layer) {
  const objects = image.objects === null ? el("p", { class: "quiet" }, "Not known.")
    : image.objects.length ? el("ul", { class: "chips" }, image.objects.map((name) => el("li", null, name)))
      : el("p", { class: "quiet" }, "None of the known kinds.");
  const order = image.things.map((_, i) => i).sort((a, b) => (image.things[a][1] ?? 2) - (image.things[b][1] ?? 2));
  const asked = order.map((i) => {
    const [name, presence] = image.things[i];
    const state = presence === null ? "untold" : presence > data.thresholds.noun ? "" : "undetected";
    return el("li", null, el("button", { type: "button", class: `thing ${state}`, title: thingText(image, i),
      mouseenter: () => layer.show(i), mouseleave: () => layer.show(null), focus: () => layer.show(i), blur: () => layer.show(null) },
    el("span", null, name), el("small", null, presence === null ? "?" : share(presence))));
  });
  return [el("h3", null, "In the image, as known"), objects,
    data.asked.nouns ? [el("h3", null, "Nouns of the candidates"), asked.length ? el("ul", { class: "chips" }, asked)
      : el("p", { class: "quiet" }, "None found.")] : null];
}

function photo(image) {
  // The photo and, over it, the boxes of the noun that is pointed at.
  const url = pictureUrl(image.place);
  if (url === null) {
    const told = image.noPicture ? `The image is not here: ${image.noPicture}.` : "No room for this picture.";
    return [el("div", { class: "no-picture" }, told), { show: () => {} }];
  }
  const over = el("div", { class: "boxes", "aria-hidden": "true" });
  const show = (thing) => (thing === null ? over.replaceChildren() : boxesOf(image.place, thing, over));
  const picture = el("img", { src: url, alt: `image ${image.id}` });
  const [width, height] = image.size;
  picture.style.width = `${Math.round(width * Math.min(4, 480 / width, 440 / height))}px`;
  return [el("div", { class: "photo" }, picture, over), { show }];
}

function imageView(image) {
  const [picture, layer] = photo(image);
  const groups = data.groups.filter(([name]) => image.groups.includes(name)).map(([, text]) => el("span", { class: "badge arm" }, text));
  const facts = [image.gap === null ? "" : `gap to the worst ${number(image.gap)}`,
    image.winner === null ? "" : `${image.able} of ${image.candidates.length} candidates could be taken`];
  return [
    el("p", { class: "groups" }, groups),
    el("div", { class: "first" }, el("div", null, picture), el("div", null,
      el("p", { class: "why" }, el("b", null, image.winner === null ? "" : `Candidate ${image.winner} won. `), image.why,
        el("span", { class: "quiet" }, ` ${facts.filter(Boolean).join("; ")}${facts.some(Boolean) ? "." : ""}`)),
      refined(image, layer), chips(image, layer))),
    el("div", { class: "candidates" }, ranked(image).map((one) => candidateCard(image, one, layer))),
  ];
}
