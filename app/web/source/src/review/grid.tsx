/** A grid that renders the visible rows only, so that 10,000 photos scroll as fast as 100. */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

const WIDTH = 160;
const HEIGHT = 236;
const GAP = 8;
const SPARE = 2;

export function Grid(props: {
  size: number;
  current: number;
  /** Whether the focus goes to the current card also from where nothing can be pressed. */
  follow: boolean;
  label: string;
  columnsChanged(columns: number): void;
  card(index: number): ComponentChildren;
}): JSX.Element {
  const host = useRef<HTMLUListElement>(null);
  const [columns, setColumns] = useState(1);
  const [range, setRange] = useState<[number, number]>([0, 8]);
  const step = HEIGHT + GAP;
  const rows = Math.ceil(props.size / columns);

  useLayoutEffect(() => {
    const element = host.current;
    if (!element) return;
    const measure = (): void => {
      const fit = Math.max(1, Math.floor((element.clientWidth + GAP) / (WIDTH + GAP)));
      setColumns(fit);
      props.columnsChanged(fit);
      const top = -element.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(top / step) - SPARE);
      const last = Math.ceil((top + innerHeight) / step) + SPARE;
      setRange((old) => (old[0] === first && old[1] === last ? old : [first, last]));
    };
    measure();
    const resized = new ResizeObserver(measure);
    resized.observe(element);
    addEventListener("scroll", measure, { passive: true });
    return () => {
      resized.disconnect();
      removeEventListener("scroll", measure);
    };
  }, []);

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const top = element.getBoundingClientRect().top + Math.floor(props.current / columns) * step;
    const header = 150;
    if (top < header) scrollBy(0, top - header);
    else if (top + HEIGHT > innerHeight) scrollBy(0, top + HEIGHT + GAP - innerHeight);
  }, [props.current]);

  // Tab, Space and screen readers go on from the current card. Other controls keep the focus.
  const before = useRef(props.current);
  const wanted = useRef(false);
  useLayoutEffect(() => {
    const moved = before.current !== props.current;
    before.current = props.current;
    const focused = document.activeElement;
    if (host.current?.contains(focused)) wanted.current = true;
    else if (focused?.matches("a, button, input, select")) wanted.current = false;
    else wanted.current ||= moved && props.follow;
    const card = host.current?.querySelector<HTMLElement>("[aria-current=true]");
    if (!wanted.current || !card) return; // one far away is rendered once it is scrolled to
    wanted.current = false;
    card.focus({ preventScroll: true });
  });

  const first = Math.min(range[0], rows) * columns;
  const end = Math.min(range[1] * columns, props.size);
  return (
    <ul
      ref={host}
      class="gallery"
      aria-label={props.label}
      style={{ height: `${Math.max(0, rows * step)}px` }}
    >
      {Array.from({ length: Math.max(0, end - first) }, (_, offset) => {
        const index = first + offset;
        const place = {
          top: `${Math.floor(index / columns) * step}px`,
          left: `calc(${index % columns} * (100% + ${GAP}px) / ${columns})`,
          width: `calc((100% - ${(columns - 1) * GAP}px) / ${columns})`,
          height: `${HEIGHT}px`,
        };
        return (
          <li key={index} style={place} aria-setsize={props.size} aria-posinset={index + 1}>
            {props.card(index)}
          </li>
        );
      })}
    </ul>
  );
}
