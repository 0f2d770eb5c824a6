// Elements. Text from data only ever becomes text nodes and attribute values, never markup.

function fillElement(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

function el(tag, attributes, ...children) {
  return fillElement(document.createElement(tag), attributes || {}, children);
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  return fillElement(element, attributes || {}, children);
}

function select(label, options, chosen, onChange) {
  // options: [value, text] pairs
  const list = options.map(([value, text]) =>
    el("option", { value, selected: value === chosen }, text));
  const control = el("select", { change: (event) => onChange(event.target.value) }, list);
  control.value = chosen;
  return el("label", { class: "field" }, el("span", null, label), control);
}

function searchField(label, hint, value, onInput) {
  const control = el("input", {
    type: "search", value, placeholder: hint, autocomplete: "off", spellcheck: "false",
    input: (event) => onInput(event.target.value),
  });
  return el("label", { class: "field grow" }, el("span", null, label), control);
}

function checkField(label, checked, onChange) {
  const control = el("input", { type: "checkbox", change: (event) => onChange(event.target.checked) });
  control.checked = checked;
  return el("label", { class: "check" }, control, el("span", null, label));
}

function fixed(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return value.toFixed(digits).replace("-", "−");
}

function signed(value, digits = 3) {
  const text = fixed(value, digits);
  return value > 0 && text !== "–" ? `+${text}` : text;
}

function matches(text, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const all = text.toLowerCase();
  return words.every((word) => all.includes(word));
}
