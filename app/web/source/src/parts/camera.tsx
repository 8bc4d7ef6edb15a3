import type { JSX, TargetedEvent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

/** Take a photo. Browsers allow the camera on https and on this machine only; elsewhere they choose. */
export function Camera(props: {
  taken(file: File): void;
  picked(event: TargetedEvent<HTMLInputElement>): void;
}): JSX.Element {
  const video = useRef<HTMLVideoElement>(null);
  const [stream, setStream] = useState<MediaStream>();
  const [ready, setReady] = useState(false);
  const [failed, setFailed] = useState("");
  useEffect(() => {
    if (video.current && stream) video.current.srcObject = stream;
    return () => stream?.getTracks().forEach((track) => track.stop());
  }, [stream]);
  if (!("mediaDevices" in navigator)) {
    return (
      <label class="button">
        Take a photo
        <input type="file" accept="image/*" capture="environment" onChange={props.picked} />
      </label>
    );
  }
  const start = async (): Promise<void> => {
    try {
      setReady(false);
      setStream(await navigator.mediaDevices.getUserMedia({ video: true }));
      setFailed("");
    } catch {
      setFailed("The camera is not available, or its use was refused.");
    }
  };
  const take = (): void => {
    const source = video.current;
    if (!source) return;
    const canvas = document.createElement("canvas");
    canvas.width = source.videoWidth;
    canvas.height = source.videoHeight;
    canvas.getContext("2d")?.drawImage(source, 0, 0);
    canvas.toBlob((blob) => {
      if (blob) props.taken(new File([blob], "camera.jpg", { type: "image/jpeg" }));
    }, "image/jpeg");
  };
  if (!stream) {
    return (
      <>
        <button onClick={() => void start()}>Use the camera</button>
        {failed && <span role="alert">{failed}</span>}
      </>
    );
  }
  return (
    <span class="camera">
      <video
        ref={video}
        autoplay
        muted
        playsInline
        aria-label="Camera"
        onLoadedData={() => setReady(true)}
      />
      <button class="main" disabled={!ready} onClick={take}>
        Take a photo
      </button>
      <button onClick={() => setStream(undefined)}>Stop the camera</button>
    </span>
  );
}
