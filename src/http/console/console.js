// The console: what the address says is asked of the API, and its answer is shown.
//
// The query of the page is the query of the list, its fragment the id of the image whose details
// are open; `go` alone changes them, and `arrive` alone follows them. The token is kept here and
// nowhere else.

import { addProperty, asksForMore, readForm, readQuery, same, showForm, showHints, valueOf, without, writeQuery } from "./query.js";
import { bytesInWords, readJson, roughSize, roughTime, writeJson } from "./values.js";

const LIST = "v1.1/images/detail";

/** What a page without a query asks for. */
const START = [["limit", "25"]];

const byId = (id) => document.getElementById(id);
const form = byId("filters");
const details = byId("details");

let token = "";
/** Whether the API has asked for a token, so that curl needs one too. */
let isTokenNeeded = false;
/** The query that has been asked last, its images by their ids, and the marker of the next page. */
let asked = { query: undefined, images: new Map(), next: undefined };
let asking = new AbortController();

// --- The address ---

/** The query that the address holds. A bare address is the start, one with an empty query is not. */
function queryOfAddress() {
  return location.href.split("#")[0].includes("?") ? readQuery(location.search) : START;
}

function imageOfAddress() {
  return location.hash.slice(1);
}

/** The number of the page, where it was reached from the first. */
function pageNumber() {
  return history.state?.page ?? (valueOf(queryOfAddress(), "marker") === undefined ? 1 : undefined);
}

function addressOf(query) {
  return same(query, START) ? location.pathname : `${location.pathname}?${writeQuery(query)}`;
}

/** Goes to a query and asks the API, even if the page is there already. `place` is where it stands:
 * the number of the page, and whether the page before it is one back in the history. */
function go(query, place = { page: 1 }) {
  if (same(query, queryOfAddress())) history.replaceState(history.state, "", addressOf(query));
  else history.pushState(place, "", addressOf(query));
  asked.query = undefined;
  arrive();
}

/** Shows what the address says, and asks the API unless that is here already. */
function arrive() {
  const query = queryOfAddress();
  showForm(form, query);
  byId("more").open ||= asksForMore(form);
  const known = knownOf(query);
  if (!same(known, query)) history.replaceState(history.state, "", addressOf(known) + location.hash);
  if (asked.query && same(known, asked.query)) {
    showRequest();
    showDetails();
  } else {
    ask(known);
  }
}

/** A query that the form shows: as it does so, and without what the API does not know. */
function knownOf(query) {
  const marker = valueOf(query, "marker");
  return marker === undefined ? readForm(form) : [...readForm(form), ["marker", marker]];
}

// --- The API ---

function urlOf(path, query = []) {
  return new URL(query.length ? `${path}?${writeQuery(query)}` : path, document.baseURI).href;
}

/** Asks for a query and shows the answer; whether it is there, and no refusal. */
async function ask(query) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  asked = { query, images: new Map(), next: undefined };
  showRequest();
  showBusy();
  const answer = await answerTo(urlOf(LIST, query), signal);
  if (signal.aborted) return false;
  if (answer.refusal) {
    showRefusal(answer.refusal);
  } else {
    asked.images = new Map(answer.body.images.map((image) => [image.id, image]));
    asked.next = answer.next;
    showImages();
    showDetails();
  }
  showRequest();
  return !answer.refusal;
}

/** The body of an answer and the marker of the next page, or the refusal in the API's words. */
async function answerTo(url, signal) {
  let response;
  let text;
  try {
    response = await fetch(url, { headers: token ? { "X-Auth-Token": token } : {}, cache: "no-store", signal });
    text = await response.text();
  } catch (error) {
    return { refusal: { code: "No answer", message: `The server cannot be reached: ${error.message}.`, id: null } };
  }
  const body = parsed(text);
  if (response.ok && Array.isArray(body?.images ?? body?.members)) return { body, next: markerOf(response.headers.get("Link")) };
  const { status, statusText, headers } = response;
  const { code = `${status} ${statusText}`, message = "The answer is not one of the Image API." } = body ?? {};
  return { refusal: { status, code, message, id: headers.get("X-Openstack-Request-Id") } };
}

function parsed(text) {
  try {
    return readJson(text);
  } catch {
    return undefined;
  }
}

/** The marker that a `Link` to the next page names. */
function markerOf(link) {
  const target = /<([^>]*)>;\s*rel="next"/.exec(link ?? "")?.[1];
  return target && new URL(target, document.baseURI).searchParams.get("marker");
}

/** A line that asks the same with curl; a token stands in a variable of the shell. */
function curlOf(url, option = "") {
  const header = token || isTokenNeeded ? ' -H "X-Auth-Token: $OS_TOKEN"' : "";
  return `curl${option}${header} '${url}'`;
}

// --- What is shown ---

function show(id, isShown) {
  byId(id).hidden = !isShown;
}

function write(id, text) {
  byId(id).textContent = text;
}

/** An element with text or other elements in it. */
function element(name, attributes = {}, ...content) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...content);
  return made;
}

/** The request that the form makes: that of the page, unless the form has been changed. */
function showRequest() {
  const own = readForm(form);
  const isEdited = !same(own, without(asked.query, "marker"));
  const url = urlOf(LIST, isEdited ? own : asked.query);
  write("url", url);
  write("curl", curlOf(url));
  show("edited", isEdited);
}

function showBusy() {
  write("state", "Loading…");
  byId("found").setAttribute("aria-busy", "true");
}

function showOnly(id) {
  byId("found").removeAttribute("aria-busy");
  for (const part of ["refusal", "empty", "found"]) show(part, part === id);
}

function showRefusal({ status, code, message, id }) {
  showOnly("refusal");
  write("state", "");
  write("refusal-code", code);
  write("refusal-message", message);
  write("refusal-id", id ? `Request id: ${id}` : "");
  showPages();
  if (status === 401) {
    isTokenNeeded = true;
    askForToken();
  }
}

function showImages() {
  const { images, query, next } = asked;
  const count = images.size;
  const isLater = valueOf(query, "marker") !== undefined;
  showOnly(count ? "found" : "empty");
  write("empty-text", isLater ? "No image comes after the marker." : "No image matches these filters.");
  const number = pageNumber();
  const page = isLater ? `Page ${number ?? "after a marker"}: ` : "";
  write("state", count ? `${page}${count} ${count === 1 ? "image" : "images"}${next ? ", more follow" : ""}.` : "Nothing matches.");
  document.title = `Images${isLater ? `, page ${number ?? "after a marker"}` : ""} · Glimpse`;
  showOrder(query);
  byId("rows").replaceChildren(...[...images.values()].map(rowOf));
  showPages();
}

function orderOf(query) {
  return { key: valueOf(query, "sort_key") ?? "created_at", direction: valueOf(query, "sort_dir") ?? "desc" };
}

function showOrder(query) {
  const { key, direction } = orderOf(query);
  const word = direction === "asc" ? "ascending" : "descending";
  for (const header of document.querySelectorAll("[data-sort]")) {
    if (header.dataset.sort === key) header.setAttribute("aria-sort", word);
    else header.removeAttribute("aria-sort");
  }
  write("caption", `By ${key}, ${word}. Times are UTC.`);
}

function showPages() {
  const isLater = valueOf(asked.query, "marker") !== undefined;
  show("pages", isLater || asked.next);
  byId("first").disabled = !isLater;
  byId("previous").disabled = !history.state?.isNext;
  byId("next").disabled = !asked.next;
}

function rowOf(image) {
  const flags = [image.is_public ? "public" : "not public", image.protected && "protected", image.deleted && "deleted"];
  const cells = [
    ["Name", element("button", { type: "button", "data-image": image.id }, nameOf(image))],
    ["Status", textOf(image.status)],
    ["Disk", textOf(image.disk_format)],
    ["Container", textOf(image.container_format)],
    ["Size", sizeOf(image.size)],
    ["Flags", flags.filter(Boolean).join(", ")],
    ["Created", timeOf(image.created_at)],
    ["Updated", timeOf(image.updated_at)],
    ["ID", element("code", {}, image.id)],
  ];
  return element("tr", { role: "row" }, ...cells.map(([label, content]) => element("td", { role: "cell", "data-label": label }, content)));
}

function nameOf(image) {
  return image.name ? image.name : element("span", {}, textOf(image.name), heard(`, the image ${image.id}`));
}

/** Text that is there for screen readers alone. */
function heard(text) {
  return element("span", { class: "heard" }, text);
}

/** A text; null and the empty text can be told from text that says so. */
function textOf(value) {
  if (value === null) return element("i", { class: "null" }, "null");
  return value === "" ? element("i", { class: "null" }, "empty") : String(value);
}

/** What is read at a glance, with what is exact on hover and for screen readers. */
function roughly(name, attributes, rough, exact) {
  return element(name, { ...attributes, title: exact }, element("span", { "aria-hidden": "true" }, rough), heard(exact));
}

function sizeOf(bytes) {
  if (bytes === null) return textOf(null);
  return roughly("data", { value: String(bytes) }, roughSize(bytes), bytesInWords(bytes));
}

function timeOf(time) {
  if (time === null) return textOf(null);
  return roughly("time", { datetime: `${time}Z` }, roughTime(time), `${time} UTC`);
}

// --- Details of an image ---

/** Opens or closes the details as the address says. */
function showDetails() {
  const id = imageOfAddress();
  const image = asked.images.get(id);
  write("missing", id && !image ? `The image ${id} is not on this page.` : "");
  if (!image) {
    if (details.open) details.close();
    return;
  }
  byId("details-title").replaceChildren(textOf(image.name));
  byId("fields").replaceChildren(...Object.entries(image).flatMap(([name, value]) => fieldOf(name, value)));
  write("json", writeJson(image));
  const url = urlOf(`v1.1/images/${image.id}`);
  write("image-url", url);
  write("image-curl", curlOf(url, " -I"));
  if (!details.open) details.showModal();
  showMembers(image.id);
}

function fieldOf(name, value) {
  const entries = name === "properties" ? Object.entries(value).map(([property, own]) => [`property-${property}`, own]) : [[name, value]];
  return entries.flatMap(([label, own]) => [element("dt", {}, label), element("dd", {}, exactOf(label, own))]);
}

function exactOf(name, value) {
  if (value === null || value === "") return textOf(value);
  if (name === "size" || name === "virtual_size") return `${roughSize(value)} (${bytesInWords(value)})`;
  if (name === "min_ram") return `${value} MB`;
  if (name === "min_disk") return `${value} GB`;
  return name.endsWith("_at") && !name.startsWith("property-") ? `${value} UTC` : String(value);
}

async function showMembers(id) {
  write("members", "Loading…");
  const { body, refusal } = await answerTo(urlOf(`v1.1/images/${id}/members`));
  if (imageOfAddress() !== id) return;
  const projects = body?.members.map(({ member_id, can_share }) => (can_share ? `${member_id} (can share it)` : member_id));
  write("members", refusal ? `${refusal.code}: ${refusal.message}` : projects.join(", ") || "No project that you are told of.");
}

function openDetails(id) {
  history.pushState({ ...history.state, isOpen: true }, "", `#${id}`);
  showDetails();
}

/** Goes back to the list, where the details were opened from it. */
function leaveDetails() {
  if (!imageOfAddress()) return;
  if (history.state?.isOpen) history.back();
  else history.replaceState(history.state, "", addressOf(asked.query));
}

// --- The token ---

function askForToken() {
  byId("access").open = true;
  write("token-state", token ? "The token has been refused." : "A token is needed.");
  byId("token").focus();
}

async function useToken(text) {
  if (!/^[\x21-\x7e]*$/.test(text)) {
    write("token-state", "No header can carry this token: printable ASCII without blanks is needed.");
    return;
  }
  token = text;
  byId("token").value = "";
  byId("forget").disabled = !token;
  write("token-state", token ? "A token is used." : "No token is used.");
  if (await ask(asked.query)) {
    byId("access").open = false;
    byId("results").focus();
  }
}

// --- What people do ---

/** Whether the form would fill the window, so that it is folded but when it is used. */
const isNarrow = () => matchMedia("(max-width: 40rem)").matches;
if (isNarrow()) byId("fold").open = false;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!isNarrow()) return go(readForm(form));
  byId("fold").open = false;
  turn(readForm(form));
});
form.addEventListener("input", () => {
  showHints(form);
  showRequest();
});
byId("add-property").addEventListener("click", () => addProperty(form).focus());
byId("properties").addEventListener("click", (event) => {
  if (!event.target.closest("button")) return;
  event.target.closest(".property").remove();
  byId("add-property").focus();
  showRequest();
});
byId("reset").addEventListener("click", () => go(START));
byId("empty-reset").addEventListener("click", () => turn(START));

for (const header of document.querySelectorAll("[data-sort]")) {
  header.firstElementChild.addEventListener("click", () => {
    const { key, direction } = orderOf(readForm(form));
    const own = header.dataset.sort;
    const fresh = own === "size" || own.endsWith("_at") ? "desc" : "asc";
    byId("sort_key").value = own;
    byId("sort_dir").value = own === key ? { asc: "desc", desc: "asc" }[direction] : fresh;
    go(readForm(form));
  });
}

/** Brings those who turn pages to the images, however they came. */
function turn(query, place) {
  go(query, place);
  byId("results").focus();
}
byId("first").addEventListener("click", () => turn(without(asked.query, "marker")));
byId("previous").addEventListener("click", () => {
  byId("results").focus();
  history.back();
});
byId("next").addEventListener("click", () => {
  const page = pageNumber();
  turn([...without(asked.query, "marker"), ["marker", asked.next]], { page: page && page + 1, isNext: true });
});

byId("rows").addEventListener("click", (event) => {
  const button = event.target.closest("[data-image]");
  if (button) openDetails(button.dataset.image);
});
byId("close").addEventListener("click", () => details.close());
details.addEventListener("close", leaveDetails);

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(byId("token").value.trim());
});
byId("forget").addEventListener("click", () => useToken(""));

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(byId(button.dataset.copy)));
}

/** Copies a text; where the browser allows no clipboard, as without TLS, the text is selected. */
async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    tell("Copied.");
  } catch {
    getSelection().selectAllChildren(source);
    tell(document.execCommand("copy") ? "Copied." : "Selected, to be copied by hand.");
  }

  // Open details make the rest of the page silent.
  function tell(outcome) {
    source.closest("section, dialog").querySelector(".outcome").textContent = outcome;
  }
}

// The fragment of an address is an image, so that this link leads there without one.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("results").focus();
});

// Browsers keep a page that is left as it is, and show it again when people go back to it: then
// neither the token nor what it has shown may be there.
addEventListener("pagehide", () => { token = ""; });
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

addEventListener("popstate", arrive);
arrive();
