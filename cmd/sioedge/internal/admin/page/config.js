// The settings, with secrets masked, and reading them again.

import { h, put, ask, dialog, session, card, trouble, say } from "./core.js";

// lines writes YAML with its parts apart: names, values, and what set them.
function lines(yaml) {
  return yaml.split("\n").map((text) => {
    const [, name = "", rest = text] = /^(\s*(?:- )?[\w*.-]+:)(.*)$/.exec(text) ?? [];
    const at = rest.lastIndexOf(" # ");
    return [h("span", { class: "name" }, name), at >= 0 ? rest.slice(0, at) : rest, at >= 0 && h("span", { class: "soft" }, rest.slice(at)), "\n"];
  });
}

export function settings(main) {
  const text = h("pre", { class: "yaml", tabindex: 0, "aria-label": "Settings" }), result = h("div", { role: "status" });
  const find = h("input", { type: "search", placeholder: "Show lines with…", "aria-label": "Show lines with this text" });
  let yaml = "";
  const show = () => {
    const want = find.value.toLowerCase();
    put(text, lines(yaml.split("\n").filter((line) => line.toLowerCase().includes(want)).join("\n")));
  };
  const load = async () => {
    try {
      yaml = (await ask("data/config")).yaml;
      show();
    } catch (err) {
      trouble(err);
    }
  };
  const reload = async () => {
    if (!await dialog({ title: "Read the settings again?", text: "As SIGHUP does: what can be changed while the server runs is applied.", ok: "Reload" })) return;
    const list = (name, all) => all.length > 0 && h("p", {}, h("b", {}, name), " ", all.join(", "));
    try {
      const x = await ask("api/reload", null);
      put(result, card("Reloaded", list("Applied:", x.applied), list("Needs a restart:", x.restart), x.applied.length + x.restart.length === 0 && h("p", {}, "Nothing has changed.")));
      say("Reloaded");
    } catch (err) {
      put(result, card("Not reloaded", h("p", {}, err.message), h("ul", {}, err.details.map((d) => h("li", {}, d)))));
    }
    load();
  };
  find.addEventListener("input", show);
  put(main,
    h("div", { class: "title" }, h("div", {}, h("h1", { tabindex: -1 }, "Settings"), h("p", { class: "soft" }, "What the file, the environment and flags make of the settings. Secrets are masked.")),
      !session.readonly && h("button", { id: "reload", onclick: reload }, "Reload…")),
    result, card("", h("div", { class: "row" }, find), text));
  load();
}
