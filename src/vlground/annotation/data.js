// What the page holds. The element goes: sample ids, packed as they are, may tell the truth.

const source = document.getElementById("data");
const data = JSON.parse(source.textContent);
source.remove();
