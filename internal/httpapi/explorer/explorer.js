// The explorer shows /openapi.json and sends requests to the server that it came from. Whatever it shows is set as text,
// never as markup.
"use strict";

const methods = ["get", "post", "put", "patch", "delete"];
let contract;

function element(name, text, attributes, ...children) {
  const e = document.createElement(name);
  if (text) e.textContent = text;
  for (const [key, value] of Object.entries(attributes || {})) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

// resolve follows a reference into the components.
function resolve(value) {
  while (value && value.$ref) value = value.$ref.slice(2).split("/").reduce((at, name) => at && at[name], contract);
  return value || {};
}

// shape is a schema as an example of itself: types stand for values.
function shape(schema, depth) {
  schema = resolve(schema);
  if (depth > 6) return "...";
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return [shape(schema.items, depth + 1)];
  if (schema.properties) {
    const required = schema.required || [], out = {};
    for (const [name, one] of Object.entries(schema.properties)) out[required.includes(name) ? name : name + "?"] = shape(one, depth + 1);
    return out;
  }
  return [schema.type, schema.format].filter(Boolean).join(" ") || "any";
}

function pretty(value) { return JSON.stringify(value, null, 2); }

function parametersOf(item, operation) { return [...(item.parameters || []), ...(operation.parameters || [])].map(resolve); }

function scopeOf(operation) {
  const security = operation.security || contract.security || [];
  return security.length ? security.flatMap(one => Object.values(one).flat()).join(" ") : "open";
}

function responsesOf(operation) {
  const table = element("table");
  for (const [status, reference] of Object.entries(operation.responses)) {
    const response = resolve(reference), cell = element("td", response.description);
    for (const [type, content] of Object.entries(response.content || {})) {
      const more = element("details", "", {}, element("summary", type));
      const text = content.examples ? Object.values(content.examples).map(one => pretty(one.value)).join("\n") : pretty(shape(content.schema, 0));
      more.append(element("pre", text));
      cell.append(more);
    }
    table.append(element("tr", "", {}, element("td", status), cell));
  }
  return table;
}

// tryOut is a form that sends the request and shows what comes back.
function tryOut(path, method, parameters, operation) {
  const form = element("form"), fields = [], table = element("table");
  for (const p of parameters) {
    const input = element("input", "", { "aria-label": p.name });
    fields.push([p, input]);
    const about = [p.in, p.required ? "required" : "", p.description].filter(Boolean).join("; ");
    table.append(element("tr", "", {}, element("td", "", {}, element("code", p.name)), element("td", "", {}, input), element("td", about)));
  }
  form.append(table);
  const content = resolve(operation.requestBody).content || {}, type = Object.keys(content)[0];
  let body;
  if (type === "application/json") {
    form.append(element("p", "Body, as " + type + ":"), element("pre", pretty(shape(content[type].schema, 0))));
    body = element("textarea", "", { "aria-label": "body" });
    form.append(body);
  }
  const answer = element("pre", "", { hidden: "" });
  form.append(element("button", "Send"), answer);
  form.addEventListener("submit", async event => {
    event.preventDefault();
    let url = path;
    const query = new URLSearchParams(), headers = {};
    for (const [p, input] of fields) {
      if (!input.value) continue;
      if (p.in === "path") url = url.replace("{" + p.name + "}", encodeURIComponent(input.value));
      else if (p.in === "header") headers[p.name] = input.value;
      else for (const value of resolve(p.schema).type === "array" ? input.value.split(",") : [input.value]) query.append(p.name, value.trim());
    }
    const token = document.getElementById("token").value.trim();
    if (token) headers.Authorization = "Bearer " + token;
    if (body) headers["Content-Type"] = "application/json";
    if (query.size) url += "?" + query;
    answer.hidden = false;
    answer.textContent = "Waiting.";
    try {
      const got = await fetch(url, { method: method.toUpperCase(), headers, body: body ? body.value || "{}" : undefined, credentials: "omit" });
      let text = await got.text();
      try { text = pretty(JSON.parse(text)); } catch { /* not JSON: as it is */ }
      const head = [...got.headers].map(([name, value]) => name + ": " + value).join("\n");
      answer.textContent = got.status + " " + got.statusText + "\n" + head + "\n\n" + text.slice(0, 200000);
    } catch (fault) {
      answer.textContent = String(fault);
    }
  });
  return form;
}

function operationOf(path, item, method) {
  const operation = item[method], scope = scopeOf(operation);
  const box = element("details", "", { id: operation.operationId });
  box.dataset.text = [path, method, operation.operationId, operation.summary, scope].join(" ").toLowerCase();
  box.append(element("summary", "", {}, element("span", scope, { class: "scope" }), element("b", method.toUpperCase()), element("code", path), operation.summary || ""));
  box.addEventListener("toggle", () => { // made when first seen
    if (!box.open || box.querySelector(".body")) return;
    const body = element("div", "", { class: "body" });
    if (operation.description) body.append(element("p", operation.description));
    body.append(tryOut(path, method, parametersOf(item, operation), operation), element("h3", "Answers"), responsesOf(operation));
    box.append(body);
  });
  return box;
}

async function show() {
  const main = document.getElementById("operations");
  contract = await (await fetch("/openapi.json")).json();
  const groups = new Map((contract.tags || []).map(tag => [tag.name, []]));
  for (const [path, item] of Object.entries(contract.paths)) {
    for (const method of methods.filter(one => item[one])) {
      const tag = (item[method].tags || ["other"])[0];
      groups.set(tag, [...(groups.get(tag) || []), operationOf(path, item, method)]);
    }
  }
  main.textContent = "";
  main.append(element("details", "", {}, element("summary", "About " + contract.info.title), element("pre", contract.info.description)));
  for (const [tag, boxes] of groups) main.append(element("section", "", {}, element("h2", tag), ...boxes));
  document.getElementById("find").addEventListener("input", event => {
    const wanted = event.target.value.toLowerCase();
    for (const box of main.querySelectorAll("section > details")) box.hidden = !box.dataset.text.includes(wanted);
  });
  if (location.hash) document.getElementById(location.hash.slice(1))?.setAttribute("open", "");
}

show().catch(fault => { document.getElementById("operations").textContent = "The contract cannot be read: " + fault; });
