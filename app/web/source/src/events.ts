/** Events of a running job, live. The browser reconnects behind the last event by itself. */
import { useEffect, useRef, useState } from "preact/hooks";
import { address } from "./api";
import type { Epoch, JobEvent, Progress } from "./types";

export interface Followed {
  progress?: Progress;
  epochs: Epoch[];
  connected: boolean;
}

const dataOf = (event: MessageEvent<string>): JobEvent["data"] =>
  (JSON.parse(event.data) as JobEvent).data;

/** Follow while `running`. `changed` is called when the state of the job changes. */
export function useEvents(id: string, running: boolean, changed: () => void): Followed {
  const [followed, setFollowed] = useState<Followed>({ epochs: [], connected: true });
  const latest = useRef(changed);
  latest.current = changed;
  useEffect(() => {
    if (!running) return;
    let epochs: Epoch[] = [];
    let progress: Progress | undefined;
    let frame = 0;
    // A browser keeps six connections to a service: hidden tabs close theirs.
    let source: EventSource | undefined;
    let again: ReturnType<typeof setTimeout> | undefined;
    const show = (connected: boolean): void => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => setFollowed({ progress, epochs, connected }));
    };
    const open = (): void => {
      source?.close();
      clearTimeout(again);
      epochs = [];
      source = new EventSource(address(`/jobs/${id}/events`));
      source.onopen = () => show(true);
      source.onerror = () => {
        show(false);
        latest.current();
        // After an answer such as 503 the browser does not try again.
        if (source?.readyState === EventSource.CLOSED) again = setTimeout(open, 2000);
      };
      source.addEventListener("metrics", (event) => {
        const epoch = dataOf(event) as Epoch;
        // A second attempt starts from the first epoch again.
        epochs = [...epochs.filter((old) => old.epoch < epoch.epoch), epoch];
        show(true);
      });
      source.addEventListener("progress", (event) => {
        progress = dataOf(event) as Progress;
        show(true);
      });
      for (const type of ["status", "warning"]) {
        source.addEventListener(type, () => latest.current());
      }
    };
    const seen = (): void => {
      if (document.hidden) source?.close();
      else {
        open();
        latest.current();
      }
    };
    open();
    document.addEventListener("visibilitychange", seen);
    return () => {
      document.removeEventListener("visibilitychange", seen);
      cancelAnimationFrame(frame);
      clearTimeout(again);
      source?.close();
    };
  }, [id, running]);
  return followed;
}
