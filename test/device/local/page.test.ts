import { createHash } from "node:crypto";
import { createContext, Script } from "node:vm";
import * as assert from "uvu/assert";
import { page, script } from "../../../src/device/local/page.ts";
import { revokeToken } from "../../../src/device/local/token.ts";
import { came, left } from "../../lib/housed.ts";
import { deedOf, openLocalWorld } from "../../lib/local.ts";
import { until } from "../../lib/mosquitto.ts";
import { suite } from "../../lib/suite.ts";

type Element = {
  name: string;
  textContent: string;
  value: string;
  hidden: boolean;
  children: Element[];
  parent: Element | undefined;
  readonly firstChild: Element | undefined;
  readonly lastChild: Element | undefined;
  append(...more: Element[]): void;
  prepend(one: Element): void;
  remove(): void;
  addEventListener(name: string, act: (event: { preventDefault(): void }) => void): void;
  submit(): void;
};

/** As much of a browser as the page uses; what writes markup is not there, so that it would throw. */
function browser(port: number) {
  const element = (name: string): Element => {
    let act: (event: { preventDefault(): void }) => void = () => {};
    const own: Element = {
      ...{ name, textContent: "", value: "", hidden: false, children: [], parent: undefined },
      get firstChild() {
        return own.children[0];
      },
      get lastChild() {
        return own.children.at(-1);
      },
      append(...more) {
        for (const one of more) {
          one.remove();
          one.parent = own;
          own.children.push(one);
        }
      },
      prepend(one) {
        one.remove();
        one.parent = own;
        own.children.unshift(one);
      },
      remove() {
        const { parent } = own;
        if (parent) parent.children = parent.children.filter((child) => child !== own);
        own.parent = undefined;
      },
      addEventListener(event, acts) {
        assert.is(event, "submit");
        act = acts;
      },
      submit: () => act({ preventDefault() {} }),
    };
    Object.defineProperty(own, "innerHTML", {
      set() {
        throw new Error("the page writes markup");
      },
    });
    return own;
  };
  const ids = new Map([...page.matchAll(/id="([a-z]+)"/g)].map(([, id = ""]) => [id, element(id)]));
  const asked: { path: string; authorization: string | undefined }[] = [];
  const over = new AbortController();
  const timers: NodeJS.Timeout[] = [];
  const context = createContext({
    document: {
      getElementById: (id: string) => ids.get(id) ?? null,
      createElement: element,
    },
    fetch: async (path: string, options: RequestInit & { headers?: Record<string, string> }) => {
      asked.push({ path, authorization: options.headers?.authorization });
      return await fetch(`http://127.0.0.1:${port}${path}`, { ...options, signal: over.signal });
    },
    setInterval: (act: () => void, ms: number) => timers.push(setInterval(act, ms)),
    // Three seconds are for people.
    setTimeout: (act: () => void) => over.signal.aborted || timers.push(setTimeout(act, 50)),
    ...{ TextDecoder, console },
  });
  new Script(script).runInContext(context);
  const at = (id: string) => {
    const found = ids.get(id);
    if (!found) throw new Error(`the page has no ${id}`);
    return found;
  };
  return {
    ...{ at, asked },
    rows: () =>
      Object.fromEntries(
        at("states").children.map((row) => [
          row.firstChild?.textContent,
          row.lastChild?.textContent,
        ]),
      ),
    visits: () => at("visits").children.map(({ textContent }) => textContent),
    enter(token: string) {
      at("token").value = token;
      at("ask").submit();
    },
    [Symbol.dispose]: () => {
      over.abort();
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

suite("device/local/page", (test) => {
  test("only its own script and style are let run, and nothing comes from elsewhere", async () => {
    await using at = await openLocalWorld();
    const { headers, body } = await at.ask("/");
    const text = body.toString();
    const policy = String(headers["content-security-policy"]);
    const hash = (what: string) => createHash("sha256").update(what).digest("base64");
    for (const tag of ["script", "style"]) {
      const inner = [...text.matchAll(new RegExp(`<${tag}>([^]*?)</${tag}>`, "g"))];
      assert.is(inner.length, 1);
      assert.ok(policy.includes(`${tag}-src 'sha256-${hash(inner[0]?.[1] ?? "")}';`), tag);
    }
    assert.not(/unsafe|img-src|\*/.test(policy), policy);
    assert.not(
      /\b(src|href|on[a-z]+|style)\s*=|https?:|<img|innerHTML|eval\(|cookie|localStorage/.test(
        text,
      ),
    );
  });

  test("it asks for a token, shows states and visits as they come", async () => {
    await using at = await openLocalWorld();
    at.house.incident(came(["door"], "1".repeat(32)));
    at.house.incident(left("1".repeat(32)));
    using browsed = browser(at.port);
    await until("health", () => browsed.at("health").textContent.startsWith("Pictures come"));
    assert.equal(browsed.asked, [{ path: "/health", authorization: undefined }]);
    browsed.enter("x".repeat(43));
    await until("refused", () => browsed.at("said").textContent === "This token is not good.");
    assert.is(browsed.at("token").value, "");
    browsed.enter(` ${at.token}\n`);
    await until("states", () => browsed.rows().person === "no");
    assert.equal([browsed.at("name").textContent, browsed.at("shown").hidden], ["Porch", false]);
    assert.is(browsed.visits().length, 1);
    assert.match(browsed.visits()[0] ?? "", /1 person, \d+ s, in door$/);

    at.house.incident(came(["door"], "2".repeat(32)));
    await until("somebody", () => browsed.rows().person === "yes");
    await until("a visit", () => browsed.visits().length === 2);
    assert.match(browsed.visits()[0] ?? "", /still there$/);
    assert.is(browsed.rows()["door: count"], "1");
    at.house.set({ name: "Porch", zones: [] });
    await until("the zone is gone", () => browsed.rows()["door: count"] === undefined);
    at.house.incident(left("2".repeat(32)));
    await until("gone", () => browsed.rows().person === "no");
    await until("the visit is over", () => !/still there/.test(browsed.visits()[0] ?? ""));
    at.local.alarm(deedOf(1));
    await until("the alarm", () => browsed.at("deeds").children.length === 1);
    assert.match(browsed.at("deeds").children[0]?.textContent ?? "", /armed, asked for$/);
    assert.is(browsed.at("alarm").hidden, false);
    // The token goes into the field that is for it and nowhere else.
    for (const { path } of browsed.asked) assert.not(path.includes(at.token));
  });

  test("units, and zones by their own names", async () => {
    await using at = await openLocalWorld({ zones: [{ name: "Back_yard-2" }] });
    using browsed = browser(at.port);
    browsed.enter(at.token);
    await until("states", () => browsed.rows().person === "no");
    const rows = browsed.rows();
    assert.equal([rows["storage free"], rows.temperature], ["100 MiB", "44 °C"]);
    assert.equal([rows["Back_yard-2: person"], rows["Back_yard-2: count"]], ["no", "0"]);
    at.house.set({ name: "Porch", zones: [] });
    await until("the zone is gone", () => browsed.rows()["Back_yard-2: count"] === undefined);
  });

  test("a token that is entered again while it is tried is tried once", async () => {
    await using at = await openLocalWorld({ bounds: { subscribers: 0 } });
    using browsed = browser(at.port);
    browsed.enter(at.token);
    browsed.enter(at.token);
    const asked = () => browsed.asked.map(({ path }) => path).filter((path) => path !== "/health");
    await until("tried again", () => asked().length >= 9);
    assert.is(browsed.at("said").textContent, "The camera says 503.");
    const once = ["/v1/events", "/v1/alarms", "/v1/stream"];
    assert.equal(asked().slice(0, 9), [...once, ...once, ...once]);
  });

  test("a token that is revoked ends it; a name that is markup stays text", async () => {
    const name = '<img src=x onerror="alert(1)">';
    await using at = await openLocalWorld({ name: () => name, bounds: { tickMs: 100 } });
    using browsed = browser(at.port);
    browsed.enter(at.token);
    await until("states", () => browsed.rows().person === "no");
    assert.is(browsed.at("name").textContent, name);
    await revokeToken(at.state, "test");
    await until("asked again", () => browsed.at("shown").hidden && !browsed.at("ask").hidden);
    assert.is(browsed.at("said").textContent, "This token is not good.");
  });
});
