import { existsSync } from "node:fs";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { DEADLINE } from "./server.js";

const BROWSERS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** A real, headless Chromium. */
export function launch(args: string[] = []): Promise<Browser> {
  const executablePath = BROWSERS.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error("there is no Chromium: install Debian's package `chromium`, or set CHROMIUM");
  return chromium.launch({
    executablePath,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--js-flags=--expose-gc",
      ...args,
    ],
  });
}

/** A page in a profile of its own, and what it complained about. */
export async function open(browser: Browser, options: BrowserContextOptions = {}): Promise<{ context: BrowserContext; page: Page; complaints: string[] }> {
  const context = await browser.newContext(options);
  // Pages that a test makes up have no address, which Chromium takes for a
  // public one, from which it opens no WebSocket to this machine.
  await context.grantPermissions(["local-network-access"]);
  context.setDefaultTimeout(DEADLINE);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    // Chromium itself reports connections that fail, which many tests bring about.
    if (message.type() === "error" && !/WebSocket connection|net::ERR|Failed to load resource/.test(message.text())) complaints.push(message.text());
  });
  return { context, page, complaints };
}
