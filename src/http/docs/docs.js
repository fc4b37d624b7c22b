// Shows the OpenAPI document of this server. All of it is text: markup is made here alone.

const api = await load();
if (api) {
  show(api);
}

async function load() {
  const state = document.getElementById('state');
  try {
    const answer = await fetch('openapi.json');
    if (!answer.ok) {
      throw new Error(`the server answers ${answer.status}`);
    }
    const json = await answer.json();
    state.remove();
    return json;
  } catch (error) {
    state.className = 'refusal';
    state.textContent = `The description cannot be loaded: ${error.message}.`;
    return null;
  } finally {
    document.getElementById('main').setAttribute('aria-busy', 'false');
  }
}

/** An element with its attributes and its children; texts are children, too. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Text in which backquotes stand around code. */
function prose(text) {
  return text.split('`').map((part, index) => (index % 2 ? make('code', {}, part) : part));
}

function paragraphs(text) {
  return (text ?? '').split('\n\n').filter(Boolean).map((paragraph) => make('p', {}, prose(paragraph)));
}

/** What a reference stands for. */
function resolve(value) {
  if (!value?.$ref) {
    return value;
  }
  const keys = value.$ref.slice(2).split('/');
  return resolve(keys.reduce((found, key) => found[key.replaceAll('~1', '/').replaceAll('~0', '~')], api));
}

function show({ info, tags, paths, components }) {
  document.title = `API · ${info.title} ${info.version}`;
  const introduction = document.getElementById('introduction');
  introduction.append(make('h2', {}, `${info.summary}, ${info.title} ${info.version}`), ...paragraphs(info.description));
  const { token } = components.securitySchemes;
  introduction.append(make('p', {}, make('code', {}, token.name), ': ', token.description));
  introduction.hidden = false;

  const contents = document.getElementById('contents');
  contents.hidden = false;
  for (const tag of tags) {
    const tagged = Object.entries(paths).filter(([, item]) => item.get.tags.includes(tag.name));
    const links = tagged.map(([path, item]) => (
      make('li', {}, make('a', { href: `#${item.get.operationId}` }, path), ` ${item.get.summary}`)
    ));
    contents.append(make('section', {}, make('h2', {}, tag.description), make('ul', {}, links)));
    document.getElementById('paths').append(...tagged.map(([path, item]) => pathSection(path, item)));
  }

  const schemas = document.getElementById('schemas');
  for (const [name, schema] of Object.entries(components.schemas)) {
    schemas.append(make('section', { id: `schema-${name}`, tabindex: '-1' }, make('h2', {}, name), schemaTable(name, schema)));
  }
  const methods = components.responses.MethodNotAllowed;
  document.getElementById('paths').append(
    make('section', { id: 'other-methods' }, make('h2', {}, 'Other methods'), answerTable('Other methods', { 405: methods })),
    make('p', {}, make('a', { href: '#main' }, 'Back to the top')),
  );
  // The target of the address is there only now.
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

function pathSection(path, item) {
  const { get, head } = item;
  const parameters = [...item.parameters, ...get.parameters].map(resolve);
  const needs = get.security.length === 0 ? 'No token is needed.'
    : get.security.some((one) => Object.keys(one).length === 0) ? 'A token shows more.' : 'A token is needed.';
  const title = `${get.operationId}-title`;
  const section = make(
    'section',
    { id: get.operationId, class: 'path', 'aria-labelledby': title },
    make('h3', { id: title }, make('code', {}, `GET, HEAD ${path}`), ` ${get.summary}`),
    paragraphs(get.description),
    head.description ? paragraphs(`HEAD: ${head.description}`) : null,
    make('p', { class: 'hint' }, needs),
    parameterTable(path, parameters),
    make('h4', {}, 'Answers'),
    answerTable(path, get.responses),
  );
  // Mostly they are the same without a body.
  if (Object.keys(head.responses).some((status) => !get.responses[status])) {
    section.append(make('h4', {}, 'Answers to HEAD'), answerTable(`HEAD ${path}`, head.responses));
  }
  return section;
}

function table(caption, names, rows) {
  const heads = names.map((name) => make('th', { scope: 'col' }, name));
  // What scrolls can be reached by keyboard.
  return make(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    make(
      'table',
      {},
      make('caption', { class: 'heard' }, caption),
      make('thead', {}, make('tr', {}, heads)),
      make('tbody', {}, rows.map((cells) => make('tr', {}, cells.map((cell) => make('td', {}, cell))))),
    ),
  );
}

function parameterTable(path, parameters) {
  const rows = parameters.map((parameter) => [
    make('code', {}, parameter.name),
    `${parameter.in}${parameter.required ? ', required' : ''}`,
    [prose(parameter.description), ' ', schemaText(parameter.schema)].flat(),
    parameter.example === undefined ? '' : make('code', {}, exampleText(parameter)),
  ]);
  return table(`Parameters of ${path}`, ['Parameter', 'In', 'Meaning', 'Example'], rows);
}

/** An example as it is written in a query. */
function exampleText({ name, example }) {
  if (typeof example === 'object' && example !== null) {
    return Object.entries(example).map(([key, value]) => `${key}=${value}`).join('&');
  }
  return name.startsWith('X-') ? String(example) : `${name}=${example}`;
}

function answerTable(path, responses) {
  const rows = Object.entries(responses).map(([status, reference]) => {
    const response = resolve(reference);
    const forms = Object.entries(response.content ?? {}).map(([type, { schema }]) => (
      make('p', {}, `${type}: `, schemaText(schema))
    ));
    return [
      make('code', {}, status),
      [prose(response.description), ...forms].flat(),
      Object.entries(response.headers ?? {}).map(([name, header]) => (
        make('p', {}, make('code', {}, header.example ? `${name}: ${header.example}` : name))
      )),
      examples(response),
    ];
  });
  return table(`Answers of ${path}`, ['Status', 'Meaning', 'Headers', 'Examples'], rows);
}

function examples(response) {
  const contents = Object.values(response.content ?? {});
  return contents.flatMap(({ examples: named = {}, example }) => [
    ...Object.values(named).map(({ summary, value }) => (
      make('details', {}, make('summary', {}, summary), make('pre', {}, JSON.stringify(value, null, 2)))
    )),
    ...(example === undefined ? [] : [make('code', {}, example)]),
  ]);
}

/** A schema in short; those with names are links. */
function schemaText(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split('/').pop();
    return make('a', { href: `#schema-${name}` }, name);
  }
  const choices = schema.anyOf?.filter((one) => one.$ref) ?? [];
  if (choices.length > 0) {
    return make('span', {}, choices.flatMap((one, index) => (index ? [' or ', schemaText(one)] : [schemaText(one)])));
  }
  if (schema.type === 'array') {
    return make('span', {}, 'array of ', schemaText(schema.items));
  }
  const notes = [[schema.type ?? []].flat().join(' or ')];
  if (schema.enum) {
    notes.push(`one of ${schema.enum.join(', ')}`);
  }
  if (schema.const !== undefined) {
    notes.push(String(schema.const));
  }
  if (schema.format) {
    notes.push(schema.format);
  }
  if (schema.minimum !== undefined) {
    notes.push(`from ${schema.minimum}`);
  }
  if (schema.default !== undefined) {
    notes.push(`${schema.default} unless given`);
  }
  return make('span', { class: 'hint' }, notes.filter(Boolean).join(', '));
}

function schemaTable(name, schema) {
  const rows = Object.entries(schema.properties).map(([field, property]) => [
    make('code', {}, field),
    schemaText(property),
    property.description ?? '',
  ]);
  return table(`Fields of ${name}`, ['Field', 'Form', 'Meaning'], rows);
}
