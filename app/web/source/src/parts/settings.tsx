import type { JSX } from "preact";
import { useLoaded } from "../load";
import type { Backbone } from "../types";

/** Name, backbone, epochs and the words of the classes. All have good defaults, so all are folded. */
export function Settings(props: { name: string; classes: string[] }): JSX.Element {
  const backbones = useLoaded<{ data: Backbone[] }>("/backbones");
  return (
    <details>
      <summary>Settings</summary>
      <div class="fields">
        <label>
          Name of the job
          <input name="name" maxLength={200} defaultValue={props.name} />
        </label>
        <label>
          Backbone
          <select name="backbone">
            <option value="">Default of the service</option>
            {backbones.value?.data.map((one) => (
              <option key={one.name} value={one.name}>
                {one.name} ({one.weights})
              </option>
            ))}
          </select>
        </label>
        <label>
          Epochs
          <input name="epochs" type="number" min={1} max={1000} placeholder="Default" />
        </label>
      </div>
      {props.classes.length > 0 && (
        <details>
          <summary>Words of the classes in the prompt</summary>
          <div class="fields">
            {props.classes.slice(0, 200).map((name) => (
              <label key={name}>
                {name}
                <input name={`words:${name}`} maxLength={500} placeholder={name} />
              </label>
            ))}
          </div>
        </details>
      )}
    </details>
  );
}

/** Return the fields of `POST /jobs` from the form. Empty fields are left to the service. */
export function formOf(form: HTMLFormElement): FormData {
  const given = new FormData(form);
  const text = (name: string): string => String(given.get(name) ?? "").trim();
  const sent = new FormData();
  if (text("name")) sent.set("name", text("name"));
  const config: Record<string, string | number> = {};
  if (text("backbone")) config["backbone"] = text("backbone");
  if (text("epochs")) config["epochs"] = Number(text("epochs"));
  sent.set("config", JSON.stringify(config));
  const words: Record<string, string> = {};
  for (const [field, value] of given) {
    const [, name] = /^words:(.*)$/s.exec(field) ?? [];
    if (name !== undefined && typeof value === "string" && value.trim()) words[name] = value.trim();
  }
  if (Object.keys(words).length > 0) sent.set("class_names", JSON.stringify(words));
  return sent;
}
