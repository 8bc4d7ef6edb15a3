/** Numbers, times and states in words. */
export const percent = (share: number, digits = 1): string =>
  `${(100 * share).toFixed(digits)}\u00a0%`;

export const points = (share: number): string =>
  `${share >= 0 ? "+" : "−"}${Math.abs(100 * share).toFixed(1)} points`;

export const count = (n: number, one: string, many = `${one}s`): string =>
  `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

export const megabytes = (bytes: number): string =>
  bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

export const seconds = (value: number): string =>
  value < 90 ? `${Math.max(1, Math.round(value))} s` : `${Math.round(value / 60)} min`;

export const day = (moment: string): string =>
  new Date(moment).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

export const capitalised = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

export const fileName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

export const stages: Record<string, string> = {
  queued: "Waiting",
  validating: "Checking the photos",
  encoding: "Encoding the photos",
  zero_shot: "Measuring CLIP without tuning",
  tuning: "Tuning",
  evaluating: "Measuring",
  saving: "Saving the model",
};

export const isOver = (status: string): boolean =>
  ["succeeded", "failed", "cancelled"].includes(status);
