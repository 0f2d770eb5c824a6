// The CSV file: ids come out here and nowhere else.

function quoted(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csv() {
  const names = JSON.parse(new TextDecoder().decode(
    Uint8Array.from(atob(data.names), (letter) => letter.charCodeAt(0))));
  const lines = [data.columns];
  for (const card of data.cards) {
    const answer = state.answers.get(card.token);
    if (answer === undefined || answer === SKIPPED) continue;
    const line = [names[card.token], state.annotator, answer];
    lines.push(data.columns.length > line.length ? [...line, data.mask] : line);
  }
  return lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n";
}

function download() {
  const file = new Blob([csv()], { type: "text/csv" });
  const link = el("a", { href: URL.createObjectURL(file), download: `${data.mode}-${state.annotator.replace(/[^\p{L}\p{N}]+/gu, "_")}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say("The file was saved by your browser.");
}
