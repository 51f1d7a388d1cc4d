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

/** Opens a page with a profile of its own. Returns the page and its console errors. */
export async function open(browser: Browser, options: BrowserContextOptions = {}): Promise<{ context: BrowserContext; page: Page; complaints: string[] }> {
  const context = await browser.newContext(options);
  // A page that a test creates has no address. Chromium treats it as public, and would not allow a
  // WebSocket to this machine.
  await context.grantPermissions(["local-network-access"]);
  context.setDefaultTimeout(DEADLINE);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    // Chromium itself reports failed connections, which many tests cause.
    if (message.type() === "error" && !/WebSocket connection|net::ERR|Failed to load resource/.test(message.text())) complaints.push(message.text());
  });
  return { context, page, complaints };
}
