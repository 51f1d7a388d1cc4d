import { useEffect, useState, type ReactNode } from "react";
import { count, duration } from "../panel/format.js";
import type { Stats } from "./api.js";
import type { Rates } from "./rates.js";
import { Sparkline } from "./Sparkline.js";
import type { TasksView } from "../store/tasks-store.js";

function Figure({ name, value, detail, children }: { name: string; value: string; detail?: string; children?: ReactNode }) {
  return (
    <div className="db-figure">
      <dt>{name}</dt>
      <dd>
        <span className="db-value">{value}</span>
        {detail && <span className="td-muted"> {detail}</span>}
        {children}
      </dd>
    </div>
  );
}

/** The statistics of the server and of this page. */
export function Statistics({ stats, view, rates }: { stats: Stats | null; view: TasksView; rates: Rates }) {
  const [second, setSecond] = useState(() => rates.perSecond());
  useEffect(() => {
    const timer = setInterval(() => setSecond(rates.perSecond()), 1000);
    return () => clearInterval(timer);
  }, [rates]);
  const gaps = stats ? Object.values(stats.bus.gaps).reduce((sum, each) => sum + each, 0) : null;
  const lag = rates.lag();
  return (
    <dl className="db-figures">
      <Figure name="Running" value={count(view.counts.running)} detail={`of ${count(view.tasks.length)}`} />
      <Figure name="Events a second" value={count(second.at(-1) ?? 0)}>
        <Sparkline values={second} />
      </Figure>
      <Figure name="Connections" value={stats ? count(stats.connections.connected) : "–"} />
      <Figure name="Events" value={stats ? count(stats.bus.events_published) : "–"} />
      <Figure name="Gaps" value={gaps === null ? "–" : count(gaps)} {...(view.gaps > 0 ? { detail: `${count(view.gaps)} here` } : {})} />
      <Figure name="Lag" value={lag === null ? "–" : `${Math.round(lag)} ms`} />
      <Figure name="Up for" value={stats ? duration(stats.uptime_ms) : "–"} />
    </dl>
  );
}
