import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { address, type ApiError } from "../api";

/** A heading that takes the focus when the view opens, so that keyboard and reader start there. */
export function Title(props: { children: ComponentChildren; note?: ComponentChildren }): JSX.Element {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const text = heading.current?.textContent ?? "";
    document.title = text ? `${text} - DSPT` : "DSPT";
  });
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return (
    <header class="title">
      <h1 ref={heading} tabIndex={-1}>
        {props.children}
      </h1>
      {props.note !== undefined && <p class="quiet">{props.note}</p>}
    </header>
  );
}

/** A sentence of the service. What stands in it between backticks is shown as code. */
export const Sentence = (props: { text: string }): JSX.Element => (
  <>
    {props.text
      .split(/`([^`]+)`/)
      .map((part, at) => (at % 2 ? <code key={at}>{part}</code> : part))}
  </>
);

/** What went wrong, with a link to what it means and how to fix it. */
export function Trouble(props: { error: ApiError; retry?: () => void }): JSX.Element {
  const { problem } = props.error;
  return (
    <div class="trouble" role="alert">
      <p>
        <strong>{problem.title}.</strong> <Sentence text={problem.detail} />{" "}
        <HowToFix code={problem.code} page={problem.type} />
      </p>
      {problem.errors !== undefined && problem.errors.length > 1 && (
        <ul>
          {problem.errors.map((item) => (
            <li key={`${item.param}${item.code}`}>
              {item.param && <code>{item.param}</code>} <Sentence text={item.message} />
            </li>
          ))}
        </ul>
      )}
      {props.retry && <button onClick={props.retry}>Try again</button>}
    </div>
  );
}

/** A link to the page about a kind of error; nothing for errors that have none. */
export function HowToFix(props: { code: string; page: string }): JSX.Element | null {
  if (!props.page.startsWith("/errors/")) return null;
  return (
    <a href={address(props.page)} target="_blank" rel="noopener">
      How to fix {props.code}
    </a>
  );
}

export const Waiting = (): JSX.Element => (
  <p class="quiet" role="status">
    Loading ...
  </p>
);

export const Badge = (props: { status: string }): JSX.Element => (
  <span class={`badge ${props.status}`}>{props.status}</span>
);

/** One photo of a data set by its number. `size` is the longer side in pixels. */
export function Picture(props: {
  dataset: string;
  number: number | null | undefined;
  alt: string;
  size?: 192 | 384 | 1280;
  class?: string;
}): JSX.Element {
  if (props.number === null || props.number === undefined) {
    return <span class="no-picture">{props.alt}</span>;
  }
  const path = `/datasets/${props.dataset}/images/${props.number}?size=${props.size ?? 192}`;
  return (
    <img
      class={props.class}
      src={address(path)}
      alt={props.alt}
      loading="lazy"
      decoding="async"
      onError={(event) => event.currentTarget.classList.add("missing")}
    />
  );
}

/** A photo on the user's machine. `source`: URL of an object, which the browser may be unable to show. */
export function Own(props: { source: string; alt: string; name: string }): JSX.Element {
  const [unseen, setUnseen] = useState(false);
  if (unseen) return <span class="no-picture">{props.name}: this browser cannot show it</span>;
  return (
    <img
      src={props.source}
      alt={props.alt}
      loading="lazy"
      decoding="async"
      onError={() => setUnseen(true)}
    />
  );
}

export function Bar(props: { share: number; label: string }): JSX.Element {
  return <progress max={1} value={props.share} aria-label={props.label} />;
}

/** A scroll container that the keyboard can reach. */
export function Wide(props: { label: string; children: ComponentChildren }): JSX.Element {
  return (
    <div class="wide" role="region" aria-label={props.label} tabIndex={0}>
      {props.children}
    </div>
  );
}
