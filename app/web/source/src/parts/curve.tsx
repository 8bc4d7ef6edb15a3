import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { percent } from "../text";
import type { Epoch } from "../types";

const colour = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Steps between the numbers of the axis. */
const EPOCHS = [1, 2, 5, 10, 20, 50, 100, 200, 500];

function columns(epochs: Epoch[]): uPlot.AlignedData {
  return [
    epochs.map((one) => one.epoch),
    epochs.map((one) => one.loss),
    epochs.map((one) => one.train_accuracy),
    epochs.map((one) => one.suppressed),
  ];
}

function options(width: number): uPlot.Options {
  const text = () => colour("--quiet");
  const grid = { stroke: () => colour("--line"), width: 1 };
  const share = (_: uPlot, value: number | null): string =>
    value === null ? "" : percent(value);
  return {
    width,
    height: 240,
    scales: { x: { time: false }, share: { range: [0, 1] } },
    axes: [
      { stroke: text, grid, label: "Epoch", labelSize: 20, size: 36, incrs: EPOCHS },
      {
        stroke: text,
        grid,
        label: "Loss",
        labelSize: 20,
        size: 58,
        values: (_, ticks) => ticks.map((tick) => tick.toPrecision(4)),
      },
      {
        stroke: text,
        grid: { show: false },
        side: 1,
        scale: "share",
        size: 58,
        values: (_, ticks) => ticks.map((tick) => `${Math.round(100 * tick)} %`),
      },
    ],
    series: [
      { label: "Epoch" },
      { label: "Loss", stroke: () => colour("--blue"), width: 2, points: { show: false } },
      {
        label: "Right by the given labels",
        scale: "share",
        stroke: () => colour("--green"),
        width: 2,
        points: { show: false },
        value: share,
      },
      {
        label: "Ignored as noise",
        scale: "share",
        stroke: () => colour("--orange"),
        width: 2,
        points: { show: false },
        dash: [6, 4],
        value: share,
      },
    ],
  };
}

export function Curve(props: { epochs: Epoch[] }): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const made = new uPlot(options(element.clientWidth), columns(props.epochs), element);
    plot.current = made;
    const resized = new ResizeObserver(() =>
      made.setSize({ width: element.clientWidth, height: 240 }),
    );
    resized.observe(element);
    const recolour = (): void => made.redraw();
    const system = matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", recolour);
    addEventListener("dspt-theme", recolour);
    return () => {
      resized.disconnect();
      system.removeEventListener("change", recolour);
      removeEventListener("dspt-theme", recolour);
      made.destroy();
    };
  }, []);
  useEffect(() => plot.current?.setData(columns(props.epochs)), [props.epochs]);
  const last = props.epochs.at(-1);
  const text = last
    ? `Curves of ${props.epochs.length} epochs; the last has a loss of ${last.loss.toFixed(3)} and ` +
      `${percent(last.train_accuracy)} right by the given labels.`
    : "Curves";
  return <div class="curve" ref={host} role="img" aria-label={text} />;
}
