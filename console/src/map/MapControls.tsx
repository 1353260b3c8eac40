import type { Map as MapLibre } from "maplibre-gl";
import { useEffect } from "react";
import { useLocale } from "../strings";
import { IconButton } from "../ui/Button";

interface Props {
  map: MapLibre;
  onFit: () => void;
  hasTrails: boolean;
  onTrails: (on: boolean) => void;
  hasNames: boolean;
  onNames: (on: boolean) => void;
}

export function MapControls({ map, onFit, hasTrails, onTrails, hasNames, onNames }: Props) {
  const { s } = useLocale();
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
      if (!isTyping && !event.ctrlKey && !event.metaKey && event.key === "0") onFit();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [onFit]);
  return (
    <div className="map-controls" role="group" aria-label={s.map.controls}>
      <IconButton icon="plus" label={s.map.zoomIn} onClick={() => map.zoomIn()} />
      <IconButton icon="minus" label={s.map.zoomOut} onClick={() => map.zoomOut()} />
      <IconButton icon="fit" label={s.map.fit} onClick={onFit} />
      <IconButton icon="trail" label={s.map.trails} aria-pressed={hasTrails} onClick={() => onTrails(!hasTrails)} />
      <IconButton icon="tag" label={s.map.names} aria-pressed={hasNames} onClick={() => onNames(!hasNames)} />
    </div>
  );
}
