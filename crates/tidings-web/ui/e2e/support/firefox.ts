import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./server.js";

const BROWSERS = [process.env.FIREFOX, "/usr/bin/firefox-esr", "/usr/bin/firefox"];

/** The settings of the profile: no port that is already in use, and no requests of the browser's own. */
const PREFERENCES = {
  "marionette.port": 0,
  "app.update.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "browser.startup.homepage_override.mstone": "ignore",
  "datareporting.policy.dataSubmissionEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "data:,",
  "toolkit.telemetry.server": "data:,",
};

/**
 * A real, headless Firefox. Playwright drives only builds of its own, so this uses Marionette,
 * which every Firefox has: JSON messages over TCP, each with its length in front.
 */
export class Firefox {
  readonly #child: ChildProcess;
  readonly #profile: string;
  #socket: Socket | null = null;
  #received = Buffer.alloc(0);
  #last = 0;
  readonly #waiting = new Map<number, { resolve: (value: any) => void; reject: (error: Error) => void }>();

  private constructor(child: ChildProcess, profile: string) {
    this.#child = child;
    this.#profile = profile;
  }

  static async launch(): Promise<Firefox> {
    const path = BROWSERS.find((path) => path && existsSync(path));
    if (!path) throw new Error("there is no Firefox: install Debian's package `firefox-esr`, or set FIREFOX");
    const profile = mkdtempSync(join(tmpdir(), "tidings-firefox-"));
    const lines = Object.entries(PREFERENCES).map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});`);
    writeFileSync(join(profile, "user.js"), lines.join("\n"));
    const child = spawn(path, ["--headless", "--marionette", "--no-remote", "--profile", profile, "about:blank"], { stdio: "ignore", env: { ...process.env, HOME: profile } });
    const firefox = new Firefox(child, profile);
    try {
      const port = await until("Firefox listens", () => {
        if (child.exitCode !== null) throw new Error(`Firefox ended with ${child.exitCode}`);
        const file = join(profile, "MarionetteActivePort");
        return existsSync(file) ? Number(readFileSync(file, "utf8")) : null;
      });
      await firefox.#connect(port);
      await firefox.#ask("WebDriver:NewSession", {});
      await firefox.#ask("WebDriver:SetTimeouts", { script: 120_000 });
    } catch (error) {
      await firefox.close();
      throw error;
    }
    return firefox;
  }

  async goto(url: string): Promise<void> {
    await this.#ask("WebDriver:Navigate", { url });
  }

  /** Evaluates an expression in the page, and waits for it if it is a promise. */
  async evaluate(expression: string): Promise<any> {
    const script = `const done = arguments[0];
      (async () => ${expression})().then((value) => done({ value }), (error) => done({ error: String(error) }));`;
    const { value } = await this.#ask("WebDriver:ExecuteAsyncScript", { script, args: [] });
    if (value.error) throw new Error(value.error);
    return value.value;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = new Promise((resolve) => this.#child.once("exit", resolve));
      this.#child.kill("SIGKILL");
      await gone;
    }
    this.#socket?.destroy();
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #connect(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, "127.0.0.1");
      this.#socket = socket;
      socket.on("error", reject);
      socket.on("close", () => {
        for (const { reject } of this.#waiting.values()) reject(new Error("Firefox is gone"));
      });
      socket.on("data", (bytes) => {
        this.#received = Buffer.concat([this.#received, bytes]);
        for (let message = this.#take(); message !== undefined; message = this.#take()) {
          // The first message says which protocol Firefox speaks.
          if (!Array.isArray(message)) resolve();
          else this.#answered(message as [1, number, { error: string; message: string } | null, unknown]);
        }
      });
    });
  }

  /** Returns the next whole message. */
  #take(): unknown {
    const colon = this.#received.indexOf(":");
    if (colon < 0) return undefined;
    const end = colon + 1 + Number(this.#received.subarray(0, colon));
    if (this.#received.length < end) return undefined;
    const text = this.#received.subarray(colon + 1, end).toString();
    this.#received = this.#received.subarray(end);
    return JSON.parse(text);
  }

  #answered([, id, error, result]: [1, number, { error: string; message: string } | null, unknown]): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new Error(`${error.error}: ${error.message}`));
    else waiting?.resolve(result);
  }

  #ask(name: string, parameters: object): Promise<any> {
    const id = ++this.#last;
    const text = JSON.stringify([0, id, name, parameters]);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket!.write(`${Buffer.byteLength(text)}:${text}`);
    });
  }
}
