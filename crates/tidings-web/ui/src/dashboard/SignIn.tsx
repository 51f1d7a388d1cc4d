import { useState } from "react";

/** Asks for a token, if the server requires one. */
export function SignIn({ refused, onToken }: { refused: boolean; onToken: (token: string) => void }) {
  const [token, setToken] = useState("");
  return (
    <form
      className="td-card db-sign-in"
      onSubmit={(event) => {
        event.preventDefault();
        if (token.trim()) onToken(token.trim());
      }}
    >
      <h1>A token is needed</h1>
      <p className="td-muted">This server shows its tasks to those who have a token. It is kept until this tab is closed.</p>
      <label htmlFor="token">Token</label>
      <input
        id="token"
        className="td-input"
        type="password"
        autoComplete="off"
        autoFocus
        aria-invalid={refused || undefined}
        aria-describedby={refused ? "refused" : undefined}
        value={token}
        onChange={(event) => setToken(event.target.value)}
      />
      {refused && (
        <p id="refused" className="td-bad" role="alert">
          The server does not accept this token, or does not accept it any more.
        </p>
      )}
      <button type="submit" className="td-button">
        Connect
      </button>
    </form>
  );
}
