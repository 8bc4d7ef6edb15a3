import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

const choices = { system: "As the system", light: "Light", dark: "Dark" };
type Choice = keyof typeof choices;

function kept(): Choice {
  const found = localStorage.getItem("dspt-theme");
  return found === "light" || found === "dark" ? found : "system";
}

export function Theme(): JSX.Element {
  const [choice, setChoice] = useState(kept);
  useEffect(() => {
    if (choice === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = choice;
    localStorage.setItem("dspt-theme", choice);
    dispatchEvent(new Event("dspt-theme"));
  }, [choice]);
  return (
    <select
      class="plain"
      aria-label="Theme"
      value={choice}
      onChange={(event) => setChoice(event.currentTarget.value as Choice)}
    >
      {Object.entries(choices).map(([value, text]) => (
        <option key={value} value={value}>
          {text}
        </option>
      ))}
    </select>
  );
}
