"""A canvas of a few pixels to draw on, by mouse, finger or keyboard."""

from typing import Any

import numpy as np
import streamlit as st

HTML = """
<canvas tabindex="0" role="application" aria-roledescription="drawing canvas"></canvas>
<div class="buttons">
  <button type="button" class="erase" aria-pressed="false">Eraser</button>
  <button type="button" class="clear">Clear</button>
</div>
<div class="said" aria-live="polite"></div>
"""

CSS = """
canvas {
  display: block; width: min(100%, 280px); image-rendering: pixelated; touch-action: none;
  cursor: crosshair; border: 1px solid var(--st-border-color); border-radius: 4px;
}
canvas:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
.buttons { display: flex; gap: 0.5rem; margin-top: 0.5rem; }
button {
  font: inherit; color: var(--st-text-color); background: var(--st-background-color);
  border: 1px solid var(--st-border-color); border-radius: 8px; padding: 0.35rem 0.9rem;
  min-height: 2.5rem; cursor: pointer;
}
button:hover, button:focus-visible, button[aria-pressed="true"] {
  border-color: var(--st-primary-color); color: var(--st-primary-color);
}
.said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
"""

JS = """
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export default function ({ data, parentElement, setStateValue }) {
  const canvas = parentElement.querySelector("canvas");
  const eraser = parentElement.querySelector(".erase");
  const said = parentElement.querySelector(".said");
  const { height, width } = data;

  // Each run of the page calls this again: what is on the canvas stays.
  if (canvas.grid?.height !== height || canvas.grid?.width !== width) {
    const pixels = data.pixels ?? new Array(height * width).fill(0);
    const row = Math.floor(height / 2), column = Math.floor(width / 2);
    canvas.grid = { height, width, pixels: [...pixels], row, column };
  }
  const grid = canvas.grid;
  const side = Math.max(1, Math.floor(560 / Math.max(height, width)));
  const soft = Math.max(0.6, 0.035 * Math.max(height, width));
  canvas.setAttribute("aria-label", `Canvas of ${height} by ${width} pixels. Arrow keys move ` +
    "the cursor, space paints, hold it to paint a line, delete clears.");

  function show() {
    canvas.width = width * side;
    canvas.height = height * side;
    const ink = canvas.getContext("2d");
    grid.pixels.forEach((value, i) => {
      ink.fillStyle = `rgb(${value} ${value} ${value})`;
      ink.fillRect((i % width) * side, Math.floor(i / width) * side, side, side);
    });
    if (!grid.keyboard) return;
    ink.strokeStyle = getComputedStyle(canvas).getPropertyValue("--st-primary-color") || "gray";
    ink.lineWidth = Math.max(2, side / 8);
    ink.strokeRect(grid.column * side, grid.row * side, side, side);
  }

  function touch(row, column) {
    grid.pixels.forEach((value, i) => {
      const down = Math.floor(i / width) + 0.5 - row, right = (i % width) + 0.5 - column;
      const near = 1.3 * Math.exp(-(down * down + right * right) / (2 * soft * soft));
      const amount = near < 0.02 ? 0 : Math.round(255 * Math.min(1, near));
      grid.pixels[i] = grid.erasing ? Math.min(value, 255 - amount) : Math.max(value, amount);
    });
    grid.changed = true;
  }

  function line([row, column], [toRow, toColumn]) {
    const steps = Math.max(1, Math.ceil(Math.hypot(toRow - row, toColumn - column) / 0.3));
    for (let i = 1; i <= steps; i++) {
      touch(row + ((toRow - row) * i) / steps, column + ((toColumn - column) * i) / steps);
    }
    show();
  }

  function end() {
    grid.last = null;
    if (grid.changed) setStateValue("pixels", [...grid.pixels]);
    grid.changed = false;
  }

  function clear() {
    grid.pixels.fill(0);
    grid.changed = true;
    said.textContent = "cleared";
    show();
    end();
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientY - box.top) / box.height) * height,
      ((event.clientX - box.left) / box.width) * width,
    ];
  }

  canvas.onpointerdown = (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    grid.keyboard = false;
    grid.last = place(event);
    line(grid.last, grid.last);
  };
  canvas.onpointermove = (event) => {
    if (!grid.last) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) {
      const next = place(each);
      line(grid.last, next);
      grid.last = next;
    }
  };
  canvas.onpointerup = canvas.onpointercancel = end;

  canvas.onkeydown = (event) => {
    const middle = () => [grid.row + 0.5, grid.column + 0.5];
    if (event.key in MOVES) {
      const [down, right] = MOVES[event.key];
      const from = middle();
      grid.row = Math.min(height - 1, Math.max(0, grid.row + down));
      grid.column = Math.min(width - 1, Math.max(0, grid.column + right));
      if (grid.painting) line(from, middle());
    } else if (event.key === " ") {
      if (!grid.painting) line(middle(), middle());
      grid.painting = true;
    } else if (event.key === "Delete" || event.key === "Backspace") {
      clear();
    } else return;
    event.preventDefault();
    event.stopPropagation();
    grid.keyboard = true;
    show();
    const value = grid.pixels[grid.row * width + grid.column];
    said.textContent = `row ${grid.row + 1}, column ${grid.column + 1}, ${Math.round(value / 2.55)} %`;
  };
  canvas.onkeyup = (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    grid.painting = false;
    end();
  };
  canvas.onblur = () => {
    grid.painting = grid.keyboard = false;
    show();
    end();
  };

  eraser.onclick = () => {
    grid.erasing = !grid.erasing;
    eraser.setAttribute("aria-pressed", grid.erasing);
  };
  parentElement.querySelector(".clear").onclick = clear;
  show();
}
"""

_mount = st.components.v2.component("keras_vae_canvas", html=HTML, css=CSS, js=JS)


def canvas(height: int, width: int, key: str) -> Any:
    """What is drawn: what a browser sent, for `drawn` to check; None before the first stroke.

    It is kept while the visitor looks at something else.

    Args:
        height: in pixels of the drawing.
        width: likewise.
        key: of the widget; `key` and `_kept` of the drawing.
    """
    kept = st.session_state.get(f"{key}_kept")
    data = {"height": height, "width": width, "pixels": kept}
    found = _mount(key=key, data=data, on_pixels_change=lambda: None).pixels
    if found is not None:
        st.session_state[f"{key}_kept"] = found
    return st.session_state.get(f"{key}_kept")


def drawn(value: Any, event_shape: tuple[int, ...]) -> np.ndarray | None:
    """Grey values in [0, 1] of a drawing, `[H, W, C]`, the channels equal; None of an empty one.

    Args:
        value: what the canvas sent: H W whole numbers from 0 to 255, row by row.
        event_shape: `(H, W, C)`.

    Raises:
        ValueError: if it is anything else.
    """
    height, width, channels = event_shape
    if value is None:
        return None
    expected = f"Expected: {height * width} numbers from 0 to 255, one for each pixel"
    if not isinstance(value, list):
        raise ValueError(
            f"The drawing is no list of pixels. {expected}. Received: {type(value).__name__}."
        )
    if len(value) != height * width:
        raise ValueError(f"The drawing has the wrong size. {expected}. Received: {len(value)}.")
    for pixel in value:
        if not isinstance(pixel, int | float) or isinstance(pixel, bool):
            raise ValueError(
                f"A pixel of the drawing is no number. {expected}. Received: {pixel!r:.40}."
            )
        if not 0 <= pixel <= 255:
            raise ValueError(
                f"A pixel of the drawing is out of range. {expected}. Received: {pixel!r:.40}."
            )
    grey = np.array(value, dtype=np.float64).reshape(height, width, 1) / 255.0
    return grey.repeat(channels, axis=-1) if grey.any() else None
