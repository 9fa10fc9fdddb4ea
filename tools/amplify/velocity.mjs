// Runs the part of Amplify's generated VTL that decides: AppSync's $util and Java's collections, as far as it uses them.
// A function that is not here throws: a rule that could not be run must not pass for one that lets nobody in.
import velocity from 'amplify-velocity-template';

class JavaMap {
  constructor(values) {
    for (const [key, value] of Object.entries(values)) this[key] = java(value);
  }
  // the engine leaves a function `eval` on every object whose methods it called
  entries() { return Object.entries(this).filter(([, value]) => typeof value !== 'function'); }
  get(key) { return this[key] ?? null; }
  put(key, value) { this[key] = java(value); }
  containsKey(key) { return Object.hasOwn(this, key); }
  keySet() { return java(this.entries().map(([key]) => key)); }
  entrySet() { return java(this.entries().map(([key, value]) => ({ key, value }))); }
  isEmpty() { return this.size() === 0; }
  size() { return this.entries().length; }
}

class JavaList extends Array {
  get(index) { return this[index] ?? null; }
  add(value) { this.push(java(value)); }
  addAll(list) { this.push(...list); }
  contains(value) { return this.includes(value); }
  isEmpty() { return this.length === 0; }
  size() { return this.length; }
}

/** Values as AppSync shows them to a template. */
export function java(value) {
  if (Array.isArray(value)) return value instanceof JavaList ? value : JavaList.from(value, java);
  return value?.constructor === Object ? new JavaMap(value) : value;
}

/** The other way: values as JSON has them. */
export function plain(value) {
  if (Array.isArray(value)) return Array.from(value, plain);
  return value instanceof JavaMap ? Object.fromEntries(value.entries().map(([key, one]) => [key, plain(one)])) : value;
}

// the engine gives an empty string for what is undefined
const isNull = (value) => value === null || value === undefined || value === '';

/** Runs a template against `ctx` (made by `java`); false if it refused. */
export function allows(template, ctx) {
  let refusal;
  const refuse = (message) => {
    refusal = message;
    throw new Error(message);
  };
  const util = {
    qr: () => '',
    authType: () => 'User Pool Authorization',
    isNull,
    isNullOrEmpty: (value) => isNull(value) || (typeof value === 'object' && value.isEmpty()),
    isString: (value) => typeof value === 'string',
    isList: (value) => Array.isArray(value),
    defaultIfNull: (value, otherwise) => (isNull(value) ? otherwise : value),
    toJson: (value) => JSON.stringify(plain(value)),
    parseJson: (text) => {
      try {
        return java(JSON.parse(text));
      } catch {
        return text;
      }
    },
    unauthorized: () => refuse('Unauthorized'),
    error: refuse,
    list: { copyAndRemoveAll: (list, others) => java(list.filter((one) => !others.includes(one))) },
    map: {
      copyAndRetainAllKeys: (map, keys) =>
        new JavaMap(Object.fromEntries(map.entries().filter(([key]) => keys.includes(key)))),
    },
    dynamodb: { toDynamoDB: (value) => ({ S: value }) },
  };
  const missing = { get: (target, name) => (name in target || typeof name === 'symbol' ? target[name] : unknown(name)) };
  const engine = new velocity.Compile(velocity.parse(template), { valueMapper: java, escape: false });
  try {
    engine.render({ ctx, context: ctx, util: new Proxy(util, missing) }, {}, true);
  } catch (error) {
    if (refusal === undefined) throw error;
  }
  return refusal === undefined;
}

function unknown(name) {
  if (name === 'eval') return undefined;
  throw new Error(`$util.${name} is not known to velocity.mjs`);
}
