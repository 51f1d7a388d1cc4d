import { Lexer, type Token, type Tokens } from "marked";
import { memo, type ReactNode, useState } from "react";
import { useLabels } from "../labels.js";
import { plain } from "../log/Ansi.js";
import { copyText } from "../save.js";
import { webAddress } from "../address.js";

const ENTITIES: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

/** Decodes common character references. Others stay unchanged. */
function decoded(text: string): string {
  const read = text.replace(/&(?:#(\d{1,6})|#x([\da-f]{1,5})|(\w+));/gi, (whole, decimal, hex, name) => {
    if (name) return ENTITIES[name.toLowerCase()] ?? whole;
    const code = decimal ? Number(decimal) : Number.parseInt(hex, 16);
    return code > 0x1f && code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
  // The lexer itself decodes some of them.
  return plain(read);
}

function Code({ text, lang }: { text: string; lang: string | undefined }) {
  const labels = useLabels();
  const [copied, setCopied] = useState(false);
  return (
    <div className="td-code">
      <div className="td-code-head">
        <span className="td-muted">{lang}</span>
        <button type="button" className="td-link" onClick={() => void copyText(text).then(() => setCopied(true), () => {})}>
          {copied ? labels.copied : labels.copy}
        </button>
      </div>
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
    </div>
  );
}

function inlines(tokens: readonly Token[] | undefined): ReactNode[] {
  return (tokens ?? []).map((token, key) => <Inline key={key} token={token} />);
}

function Inline({ token }: { token: Token }): ReactNode {
  switch (token.type) {
    case "strong":
      return <strong>{inlines(token.tokens)}</strong>;
    case "em":
      return <em>{inlines(token.tokens)}</em>;
    case "del":
      return <del>{inlines(token.tokens)}</del>;
    case "codespan":
      return <code>{decoded(token.text)}</code>;
    case "br":
      return <br />;
    case "link": {
      const address = webAddress(decoded(token.href));
      if (!address) return <>{inlines(token.tokens)}</>;
      return (
        <a href={address.href} rel="noreferrer noopener" target="_blank">
          {inlines(token.tokens)}
        </a>
      );
    }
    // Do not load images of a text, because its author would learn who reads it.
    case "image":
      return <>{decoded(token.text || token.href)}</>;
    case "checkbox":
      return <>{token.checked ? "☑ " : "☐ "}</>;
    case "text":
    case "escape":
      return "tokens" in token && token.tokens ? <>{inlines(token.tokens)}</> : <>{decoded(token.text)}</>;
    default:
      return <>{token.raw}</>;
  }
}

function Block({ token }: { token: Token }): ReactNode {
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      // Headings in a text are below the headings of the page.
      return (
        <p className="td-heading" role="heading" aria-level={Math.min(6, token.depth + 2)} data-depth={token.depth}>
          {inlines(token.tokens)}
        </p>
      );
    case "code":
      return <Code text={token.text} lang={token.lang} />;
    case "blockquote":
      return <blockquote>{blocks(token.tokens)}</blockquote>;
    case "hr":
      return <hr />;
    case "list": {
      const { ordered, start, items } = token as Tokens.List;
      const list = items.map((item, key) => <li key={key}>{blocks(item.tokens)}</li>);
      return ordered ? <ol start={start || 1}>{list}</ol> : <ul>{list}</ul>;
    }
    case "table": {
      const { header, rows } = token as Tokens.Table;
      return (
        <div className="td-table" tabIndex={0} role="group">
          <table>
            <thead>
              <tr>
                {header.map((cell, key) => (
                  <th key={key}>{inlines(cell.tokens)}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((row, key) => (
                <tr key={key}>
                  {row.map((cell, key) => (
                    <td key={key}>{inlines(cell.tokens)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      );
    }
    case "paragraph":
      return <p>{inlines(token.tokens)}</p>;
    case "text":
    case "checkbox":
      return <Inline token={token} />;
    default:
      // HTML is displayed as plain text.
      return <p>{token.raw}</p>;
  }
}

/** Draws a block again only if its source has changed. While an answer grows, only the last block changes. */
const Kept = memo(Block, (before, after) => before.token.raw === after.token.raw && before.token.type === after.token.type);

function blocks(tokens: readonly Token[] | undefined): ReactNode[] {
  return (tokens ?? []).map((token, key) => <Kept key={key} token={token} />);
}

/** Renders Markdown as elements. No HTML comes from the text. This module is loaded only if there is an output. */
export default function Markdown({ text }: { text: string }) {
  return <>{blocks(new Lexer({ gfm: true, breaks: false }).lex(plain(text)))}</>;
}
