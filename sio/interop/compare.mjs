// What the two servers showed, compared: with each other, and with the
// differences that are declared beside the scenarios.

const NOTHING = "nothing";

// sound tells whether Node's side is as it should be. If it is not, the machine was
// too busy, or the scenario is wrong, and there is nothing to compare with.
export function sound({ node, differs }) {
  const unlike = ([name, want]) => (node.seen[name] ?? NOTHING) !== want.node;
  return !node.error && !differs.some(({ seen }) => Object.entries(seen).some(unlike));
}

// compare returns the verdict on one scenario in one mode, and its lines: "same",
// "differs" as declared, or "wrong". shown are the rows of the declared differences.
export function compare({ node, here, differs }) {
  const lines = [];
  const rows = [];
  let verdict = "same";
  const wrong = (line) => {
    verdict = "wrong";
    lines.push(line);
  };
  for (const [server, { error, stack }] of [["Node", node], ["here", here]]) {
    if (error) wrong(`failed on ${server}: ${stack || error}`);
  }
  const declared = new Map();
  for (const { row, seen } of differs) {
    for (const [name, values] of Object.entries(seen)) declared.set(name, { ...values, row });
  }
  for (const name of new Set([...Object.keys(node.seen), ...Object.keys(here.seen), ...declared.keys()])) {
    const got = { node: node.seen[name] ?? NOTHING, here: here.seen[name] ?? NOTHING };
    const want = declared.get(name);
    const values = `${name}: Node ${got.node}, here ${got.here}`;
    if (!want) {
      if (got.node !== got.here) wrong(`${values}; this difference is not declared`);
    } else if (got.node === want.node && got.here === want.here) {
      if (verdict === "same") verdict = "differs";
      lines.push(`${values} (${want.row.case})`);
      rows.push(want.row);
    } else {
      wrong(`${values}; declared is Node ${want.node}, here ${want.here}`);
    }
  }
  return { verdict, lines, rows };
}

const MARKS = { same: "=", differs: "≠", wrong: "!" };
const MODES = ["polling", "websocket", "upgrade"];

// table returns the lines of the table: a row for each scenario and a column for
// each kind of client, with a mark for each of polling, websocket and upgrade.
// Below a row is where the servers differ.
export function table(results, variants) {
  const width = Math.max(...results.map((r) => r.scenario.length), 8);
  const columns = variants.map((v) => v.padEnd(Math.max(v.length, 5)));
  const lines = [
    `= same, ≠ differs as declared, ! wrong; for polling, websocket, upgrade`,
    `${"scenario".padEnd(width)}  ${columns.join("  ")}`,
  ];
  for (const scenario of [...new Set(results.map((r) => r.scenario))].sort()) {
    const of = results.filter((r) => r.scenario === scenario);
    const cells = variants.map((variant, i) => {
      const marks = MODES.map((mode) => of.filter((r) => r.variant === variant && (r.mode || MODES[0]) === mode).map((r) => MARKS[r.verdict])[0] ?? "·");
      return marks.join(" ").padEnd(columns[i].length);
    });
    lines.push(`${scenario.padEnd(width)}  ${cells.join("  ")}`.trimEnd());
    lines.push(...details(of));
  }
  return lines;
}

// details are the lines of a scenario's differences, each once with where it shows.
function details(results) {
  const where = new Map();
  for (const { variant, mode, lines } of results) {
    for (const line of lines) where.set(line, [...(where.get(line) ?? []), `${variant} ${mode}`]);
  }
  return [...where].map(([line, places]) => `    ${line} [${places.join(", ")}]`);
}

// differences returns the lines of the declared differences that showed.
export function differences(results) {
  const rows = new Set(results.flatMap((r) => r.rows).map(({ case: what, node, here, why = "" }) => `| ${[what, node, here, why].join(" | ")} |`));
  return ["| case | Node | here | why |", "|---|---|---|---|", ...[...rows].sort()];
}
