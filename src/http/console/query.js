// The query of a list: as pairs of names and values, in a query string, and in the form.
//
// The form's controls have the names of the API's parameters, so that a filter that it gets is
// one more control. What a control cannot understand is sent as it stands: the API says what is
// wrong with it.

import { bytesInWords, bytesOf, exactSize, fitsPicker } from "./values.js";

const PROPERTY = "property-";

/** The pairs of a query string; of a repeated name the last counts, as for the API. */
export function readQuery(text) {
  return [...new Map(new URLSearchParams(text))];
}

/** Escaped as far as a URL needs it, so that people can read it; URL escapes quotes for the shell. */
export function writeQuery(pairs) {
  return pairs.map(([name, value]) => `${escaped(name)}=${escaped(value)}`).join("&");
}

function escaped(text) {
  return encodeURIComponent(text.toWellFormed()).replace(/%(3A|2C|2F|40)/g, decodeURIComponent);
}

export function valueOf(pairs, name) {
  return pairs.find(([own]) => own === name)?.[1];
}

export function without(pairs, name) {
  return pairs.filter(([own]) => own !== name);
}

export function same(pairs, others) {
  return writeQuery(pairs) === writeQuery(others);
}

/** What the form asks for. A control without a value asks for nothing. */
export function readForm(form) {
  const controls = [...form.querySelectorAll("[name]")].map((control) => [control.name, valueOfControl(control)]);
  return [...controls.filter(([, value]) => value !== ""), ...propertiesOf(form)];
}

/** The properties of the form; a row with nothing in it asks for nothing. */
function propertiesOf(form) {
  const rows = [...form.querySelectorAll(".property")].map((row) => [partOf(row, "name").value, partOf(row, "value").value]);
  const given = rows.filter(([name, value]) => name !== "" || value !== "");
  return [...new Map(given.map(([name, value]) => [PROPERTY + name, value]))];
}

function valueOfControl(control) {
  switch (control.dataset.kind) {
    case "text":
      return control.value;
    case "size":
      return bytesOf(control.value) ?? control.value.trim();
    default:
      return control.value.trim();
  }
}

/** Puts a query into the form. What is neither there nor a property is not asked for. */
export function showForm(form, pairs) {
  for (const control of form.querySelectorAll("[name]")) showControl(control, valueOf(pairs, control.name));
  const properties = pairs.filter(([name]) => name.startsWith(PROPERTY));
  // Rows that say so already keep the focus.
  if (!same(properties, propertiesOf(form))) {
    form.querySelector("#properties").replaceChildren();
    for (const [name, value] of properties) addProperty(form, name.slice(PROPERTY.length), value);
  }
  showHints(form);
}

function showControl(control, given) {
  const { kind } = control.dataset;
  // An empty control asks for nothing; this asks for the empty text.
  const value = kind === "text" && given === "" ? "eq:" : (given ?? "");
  if (control instanceof HTMLSelectElement) {
    control.querySelector("[data-other]")?.remove();
    if (![...control.options].some((option) => option.value === value)) {
      const other = new Option(value, value);
      other.dataset.other = "";
      control.add(other);
    }
    control.value = value;
    return;
  }
  if (kind === "time") control.type = value === "" || fitsPicker(value) ? "datetime-local" : "text";
  control.value = kind === "size" ? exactSize(value) : value;
}

/** Adds a row for a property, and gives its first field. */
export function addProperty(form, name = "", value = "") {
  const row = document.querySelector("#property-row").content.cloneNode(true).firstElementChild;
  partOf(row, "name").value = name;
  partOf(row, "value").value = value;
  form.querySelector("#properties").append(row);
  return partOf(row, "name");
}

function partOf(row, part) {
  return row.querySelector(`[data-property="${part}"]`);
}

/** Tells what the sizes come to. */
export function showHints(form) {
  for (const control of form.querySelectorAll('[data-kind="size"]')) {
    const bytes = bytesOf(control.value);
    const hint = control.value.trim() === "" ? "" : bytes === undefined ? "no size; sent as it stands" : bytesInWords(bytes);
    form.querySelector(`#${control.id}-hint`).textContent = hint;
  }
}

/** Whether anything is asked for that the folded part of the form shows. */
export function asksForMore(form) {
  const more = form.querySelector("#more");
  return [...more.querySelectorAll("[name]")].some((control) => control.value) || more.querySelector(".property") !== null;
}
