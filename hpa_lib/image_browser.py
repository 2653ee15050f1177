"""Browse the images of a dataset: a widget where someone looks on, a figure elsewhere.

`browse` gives an `ImageBrowser` in a front end such as JupyterLab. Headless, and on the page of a
notebook that ran in a front end, the first samples stand there as a figure. The picture that the
widget shows is made in the kernel, in the size that is shown.
"""

import base64
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import cv2
import ipywidgets
import numpy as np
import pandas as pd
from IPython.display import display
from ipywidgets import Layout

from hpa_lib import front_end, image_view, labels, plots_samples, run_decisions, sample_selection
from hpa_lib.dataset import Dataset
from hpa_lib.decoded_samples import DecodedSamples
from hpa_lib.errors import HpaError
from hpa_lib.image_view import Region, Tone
from hpa_lib.images import CHANNEL_MEANINGS, CHANNELS
from hpa_lib.labels import CLASS_NAMES
from hpa_lib.plots import Picture
from hpa_lib.run_decisions import RunDecisions
from hpa_lib.sample_selection import ANY, OUTCOMES, Selection
from hpa_lib.splits import Split

SIZE = 512
"""Largest height and width of the picture in the widget, in pixels."""

STATIC_SAMPLES = 6
"""Samples of the figure."""

_MAGNIFICATIONS = {
    "whole image": 1.0,
    "2 times": 2.0,
    "4 times": 4.0,
    "8 times": 8.0,
    "16 times": 16.0,
    "every pixel shown": None,
}
_JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, 92),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]
# A sign and a word tell the verdicts apart; Okabe and Ito's colours repeat it.
_VERDICTS = {
    (True, True): ("✓ right", "#009e73"),
    (True, False): ("− missed", "#d55e00"),
    (False, True): ("+ false", "#cc79a7"),
    (False, False): ("rightly not given", "transparent"),
}
_WHOLE_WIDTH = "calc(100% - 4px)"  # without the margins that ipywidgets gives each control
_START = {
    **dict.fromkeys(CHANNELS, True),
    **{f"{name}_gain": 1.0 for name in CHANNELS},
    "grey_channel": None,
    "gamma": 1.0,
    "stretch": False,
    "magnification": 1.0,
    "across": 50,
    "down": 50,
}

log = logging.getLogger(__name__)


def browse(
    dataset: Dataset,
    division: Split,
    *,
    class_name: str | None = None,
    part: str | None = None,
    run_name: str | None = None,
    outcome: str = ANY,
) -> "ImageBrowser | Picture":
    """Show the samples of a dataset: the last expression of a notebook's cell.

    Args:
        dataset: The samples.
        division: Their split.
        class_name: Class at the start; see `sample_selection.select`.
        part: Part of the split at the start; None for all.
        run_name: Finished training run of this dataset at the start; None for none.
        outcome: Outcome of its predictions at the start, a key of `OUTCOMES`.

    Returns:
        The widget where someone looks on, else a figure with its table.

    Raises:
        HpaError: If one of these is unknown.
    """
    decided = None if run_name is None else run_decisions.read(run_name, dataset)
    selection = sample_selection.select(dataset, division, class_name, part, decided, outcome)
    if not front_end.someone_looks_on():
        return plots_samples.samples(dataset, division, selection.rows[:STATIC_SAMPLES], decided)
    browser = ImageBrowser(dataset, division)
    browser.run_name, browser.class_name = run_name, class_name
    browser.part, browser.outcome = part, outcome
    return browser


class _Setting:
    """An attribute that is the value of the control of the same name."""

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, browser: "ImageBrowser", _: type) -> Any:
        return browser.controls[self._name].value

    def __set__(self, browser: "ImageBrowser", value: Any) -> None:
        control = browser.controls[self._name]
        if isinstance(control, ipywidgets.Dropdown):
            known = [entry for _, entry in control.options]
            if value not in known:
                raise HpaError(f"{self._name} is {value!r}.", f"Choose one of {known}.")
        elif hasattr(control, "max") and not control.min <= value <= control.max:
            raise HpaError(
                f"{self._name} is {value!r}.",
                f"Choose a number from {control.min:g} to {control.max:g}.",
            )
        control.value = value


class ImageBrowser:
    """Choose samples, step through them, and look at their channels.

    Its attributes can be read and set from Python; the controls follow.

    Args:
        dataset: The samples.
        division: Their split.

    Attributes:
        class_name: Class of the samples; None for any.
        part: Part of the split; None for all.
        run_name: Finished training run whose predictions are shown; None for none.
        outcome: A key of `OUTCOMES`; other than `ANY` only with a run.
        position: Place of the sample shown among those that fit, from 1.
        sample_id: Its Id.
        magnification: See `image_view.Region`.
        across: Place of the region in percent of its free room, from the left.
        down: The same from above.
        gamma: See `image_view.Tone`.
        stretch: Whether each channel is stretched between its `image_view.stretch_limits`.
        grey_channel: The one channel that is shown, in grey; None for the overlay.
        controls: All controls by name: those of the attributes above, ``previous``, ``next``,
            ``reset``, and of each channel ``<channel>`` and ``<channel>_gain``.
        selection: The samples that fit.
    """

    class_name = _Setting()
    part = _Setting()
    run_name = _Setting()
    outcome = _Setting()
    position = _Setting()
    sample_id = _Setting()
    magnification = _Setting()
    across = _Setting()
    down = _Setting()
    gamma = _Setting()
    stretch = _Setting()
    grey_channel = _Setting()

    def __init__(self, dataset: Dataset, division: Split) -> None:
        self._dataset, self._division = dataset, division
        self._samples = DecodedSamples(dataset)
        self._decided: RunDecisions | None = None
        self._sample: np.ndarray | None = None  # of the row shown, unless it can't be read
        self._limits: tuple[tuple[float, float], ...] | None = None  # of it, once they are needed
        self._pixels: tuple[Region, np.ndarray] | None = None  # cut out of it last
        self._following = False
        self.selection = Selection(np.arange(0), 0)
        self.controls = _controls(division, run_decisions.backbones(dataset))
        names = ("summary", "count", "facts", "message", "picture", "caption", "table")
        self._texts = {name: ipywidgets.HTML() for name in names}
        self._observe()
        self._guarded(self._select)

    @property
    def row(self) -> int | None:
        """Row number of the sample shown; None where no sample fits."""
        rows = self.selection.rows
        return int(rows[self.position - 1]) if len(rows) else None

    @property
    def texts(self) -> dict[str, str]:
        """HTML beside the controls.

        The names are summary (how many samples fit), count, facts (row, part, source), message
        (what went wrong), picture, caption, and table (truth and prediction).
        """
        return {name: widget.value for name, widget in self._texts.items()}

    def static(self) -> Picture:
        """The first samples that fit as a figure; see `plots_samples.samples`."""
        rows = self.selection.rows[:STATIC_SAMPLES]
        return plots_samples.samples(self._dataset, self._division, rows, self._decided)

    def widget(self) -> ipywidgets.Widget:
        """All controls and texts, laid out; narrow windows break the rows."""
        controls, texts = self.controls, self._texts
        channels = [_row(controls[name], controls[f"{name}_gain"]) for name in CHANNELS]
        picture = ipywidgets.VBox(
            [texts["picture"], texts["caption"]],
            layout=Layout(flex=f"0 1 {SIZE}px", min_width="240px", margin="0 1em 0 0"),
        )
        view = ("grey_channel", "gamma", "stretch", "magnification", "across", "down", "reset")
        settings = ipywidgets.VBox(
            [*channels, *(controls[name] for name in view)],
            layout=Layout(flex="1 1 22em", min_width="18em"),
        )
        return ipywidgets.VBox(
            [
                _row(*(controls[name] for name in ("class_name", "part", "run_name", "outcome"))),
                texts["summary"],
                _row(
                    *(controls[name] for name in ("previous", "next", "position")),
                    texts["count"],
                    controls["sample_id"],
                    texts["facts"],
                ),
                texts["message"],
                _row(picture, settings),
                texts["table"],
            ]
        )

    def _ipython_display_(self) -> None:
        """The figure, folded in a front end and open on a page; then the widget, or its table.

        JupyterLab shows HTML rather than an image, and a widget rather than HTML; a page shows
        them the other way round. So a notebook that is opened without its kernel has the figure.
        """
        picture = self.static()
        data, metadata = picture.bundle()
        folded = (
            "<details><summary>The first samples, for when no kernel runs</summary>"
            f'<img alt="{escape(picture.alt)}" src="data:image/jpeg;base64,{data["image/jpeg"]}">'
            f"<p>{escape(picture.caption)}</p></details>"
        )
        display(data | {"text/html": folded}, metadata=metadata, raw=True)
        table = {"text/html": picture.table.to_html(), "text/plain": picture.table.to_string()}
        display(self.widget()._repr_mimebundle_() | table, raw=True)

    def _observe(self) -> None:
        channels = (name for channel in CHANNELS for name in (channel, f"{channel}_gain"))
        reactions = {
            self._choose_run: ("run_name",),
            self._select: ("class_name", "part", "outcome"),
            self._show: ("position",),
            self._find: ("sample_id",),
            self._draw: (
                *channels, "gamma", "stretch", "grey_channel", "magnification", "across", "down",
            ),
        }  # fmt: skip
        for react, names in reactions.items():
            for name in names:
                self.controls[name].observe(lambda _, react=react: self._guarded(react), "value")
        clicks = {
            "previous": lambda: self._step(-1),
            "next": lambda: self._step(1),
            "reset": self._reset,
        }
        for name, react in clicks.items():
            self.controls[name].on_click(lambda _, react=react: self._guarded(react))

    def _guarded(self, react: Callable[[], None]) -> None:
        """React to a change; what goes wrong is shown, since nobody reads a callback's log."""
        if self._following:
            return
        message = ""
        try:
            react()
        except HpaError as error:
            message = str(error)
        except Exception as error:
            log.exception("The image browser has failed.")
            message = f"This has failed ({type(error).__name__}: {error}); the log has more."
        self._say("message", message and f'<div role="alert"><b>{escape(message)}</b></div>')

    def _say(self, name: str, value: str) -> None:
        self._texts[name].value = value

    @contextmanager
    def _following_up(self) -> Iterator[None]:
        """Surround what sets controls and needs no reaction to them."""
        self._following = True
        try:
            yield
        finally:
            self._following = False

    def _follow(self, **values: Any) -> None:
        """Set controls without reacting to them."""
        with self._following_up():
            for name, value in values.items():
                self.controls[name].value = value

    def _choose_run(self) -> None:
        self._decided, failure = None, None
        if self.run_name is not None:
            try:
                self._decided = run_decisions.read(self.run_name, self._dataset)
            except HpaError as error:
                failure = error
        if self._decided is None:
            self._follow(run_name=None, outcome=ANY)
        self.controls["outcome"].disabled = self._decided is None
        self._select()
        if failure:
            raise failure

    def _select(self) -> None:
        """Find the samples that fit; the one shown stays if it does."""
        shown = self.row
        self.selection = sample_selection.select(
            self._dataset, self._division, self.class_name, self.part, self._decided, self.outcome
        )
        rows = self.selection.rows
        kept = np.flatnonzero(rows == shown)
        with self._following_up():  # a smaller maximum moves the position
            self.controls["position"].max = max(1, len(rows))
        self._follow(position=int(kept[0]) + 1 if len(kept) else 1)
        for name in ("position", "previous", "next"):
            self.controls[name].disabled = not len(rows)
        self._say("summary", f'<div role="status">{escape(self._summary())}</div>')
        self._say("count", f"of {len(rows):,}")
        self._show()

    def _summary(self) -> str:
        count = len(self.selection.rows)
        said = [f"{count:,} of {len(self._dataset):,} samples fit." if count else "No sample fits."]
        if self.selection.unpredicted:
            said.append(
                f"The run has no prediction for {self.selection.unpredicted:,} samples of this "
                "class and part; it predicts only what it wasn't trained on."
            )
        if self._decided and self._decided.split != self._division.fingerprint:
            said.append("The run was trained on another split of this dataset.")
        return " ".join(said)

    def _step(self, by: int) -> None:
        """Go on or back; behind the last sample comes the first."""
        self._follow(position=(self.position - 1 + by) % len(self.selection.rows) + 1)
        self._show()

    def _find(self) -> None:
        """Go to the sample whose Id was entered."""
        wanted = self.sample_id.strip()
        if wanted in self._dataset.ids:
            found = np.flatnonzero(self.selection.rows == self._dataset.ids.index(wanted))
            problem = f"The sample {wanted} isn't among those that fit."
        else:
            found, problem = [], f"The dataset has no sample {wanted!r}."
        if not len(found):
            self._follow(sample_id="" if self.row is None else self._dataset.ids[self.row])
            raise HpaError(problem, "Enter another Id, or choose more samples above.")
        self._follow(position=int(found[0]) + 1)
        self._show()

    def _show(self) -> None:
        """Show the sample at the position, and decode its neighbours ahead."""
        rows, row = self.selection.rows, self.row
        self._sample = self._limits = self._pixels = None
        if row is None:
            self._follow(sample_id="")
            self._say_nothing("No sample fits.")
            self._say("facts", "")
            self._say("table", "")
            return
        self._follow(sample_id=self._dataset.ids[row])
        facts = [f"row {row}", self._division.parts_of(row), *self._dataset.sources[row : row + 1]]
        self._say("facts", escape(" · ".join(facts)))
        self._say("table", self._labels(row))
        try:
            self._sample = self._samples[row]
            self._draw()
        except HpaError:
            self._say_nothing(f"The images of {self._dataset.ids[row]} can't be shown.")
            raise
        finally:
            neighbours = (self.position % len(rows), self.position - 2)
            self._samples.read_ahead(int(rows[place]) for place in neighbours)

    def _say_nothing(self, text: str) -> None:
        """Put a text in place of the picture."""
        frame = f'<div style="border: 1px solid; padding: 3em 1em">{escape(text)}</div>'
        self._say("picture", frame)
        self._say("caption", "")

    def _draw(self) -> None:
        """Draw the sample; pixels are cut out anew only where the region has changed."""
        if self._sample is None:
            return
        region = Region(self.magnification, self.across / 100, self.down / 100)
        if self._pixels is None or self._pixels[0] != region:
            self._pixels = region, image_view.cut_out(self._sample, region, SIZE)
        grey = self.grey_channel
        gains = tuple(
            self.controls[f"{name}_gain"].value
            * (self.controls[name].value if grey is None else name == grey)
            for name in CHANNELS
        )
        tone = Tone(gains, self.gamma)
        if self.stretch:
            self._limits = self._limits or image_view.stretch_limits(self._sample)
            tone = Tone(gains, self.gamma, self._limits)
        picture = image_view.colour(self._pixels[1], tone, grey)
        self._say("picture", _image(picture, self._alternative_text(gains)))
        self._say("caption", f"<small>{self._where(region)}</small>")

    def _alternative_text(self, gains: tuple[float, ...]) -> str:
        named = [f"{name} ({CHANNEL_MEANINGS[name]})" for name in CHANNELS]
        shown = ", ".join(name for name, gain in zip(named, gains, strict=True) if gain)
        return (
            f"Fluorescence image of the sample {self.sample_id}; channels: {shown or 'none'}"
            f"{' in grey' if self.grey_channel else ''}; labels: "
            f"{labels.class_names(self._dataset.label_sets[self.row])}."
        )

    def _where(self, region: Region) -> str:
        height, width = self._sample.shape[:2]
        down, across = region.slices(height, width, SIZE)
        seen = max(down.stop - down.start, across.stop - across.start)
        scale = f"{SIZE / seen:.3g}" if seen <= SIZE else f"1/{seen / SIZE:.3g}"
        return (
            f"Image of {width}×{height} pixels: columns {across.start} to {across.stop - 1}, rows "
            f"{down.start} to {down.stop - 1}, at {scale} of their size."
        )

    def _labels(self, row: int) -> str:
        """Truth and prediction of a sample."""
        decided = self._decided
        if decided is not None and decided.predicted[row]:
            return _decision_table(decided.table(self._dataset, row), decided.run)
        names = escape(labels.class_names(self._dataset.label_sets[row]))
        unpredicted = "" if decided is None else f" {escape(decided.run)} didn't predict it."
        return f"<b>Labels:</b> {names}.{unpredicted}"

    def _reset(self) -> None:
        self._follow(**_START)
        self._draw()


def _controls(division: Split, backbones: dict[str, str]) -> dict[str, ipywidgets.Widget]:
    """All controls at their start; see `ImageBrowser`."""
    runs = [(f"{name} ({backbone})", name) for name, backbone in backbones.items()]
    channels = {}
    for name in CHANNELS:
        meaning = CHANNEL_MEANINGS[name]
        channels[name] = ipywidgets.Checkbox(
            value=True, description=f"{name}: {meaning}", indent=False, layout=Layout(width="17em")
        )
        channels[f"{name}_gain"] = _slider(f"{name} gain", 0, 8, 0.1, 1.0)
    return channels | {
        "class_name": _dropdown("Class", [("all", None), *((name, name) for name in CLASS_NAMES)]),
        "part": _dropdown("Part", [("all", None), *((name, name) for name in division.parts)]),
        "run_name": _dropdown("Run", [("none" if runs else "none finished", None), *runs]),
        "outcome": _dropdown(
            "Prediction", [(words, key) for key, words in OUTCOMES.items()], disabled=True
        ),
        "previous": ipywidgets.Button(description="Previous", layout=Layout(width="6em")),
        "next": ipywidgets.Button(description="Next", layout=Layout(width="6em")),
        "position": ipywidgets.BoundedIntText(
            value=1, min=1, max=1, description="Sample", layout=Layout(width="11em")
        ),
        "sample_id": ipywidgets.Text(
            description="Id",
            continuous_update=False,
            layout=Layout(width="30em", max_width=_WHOLE_WIDTH),
        ),
        "grey_channel": _dropdown(
            "Show", [("overlay", None), *((f"{name} in grey", name) for name in CHANNELS)]
        ),
        "gamma": _slider("Gamma", 0.2, 2, 0.05, 1.0),
        "stretch": ipywidgets.Checkbox(description="stretch contrast", indent=True),
        "magnification": _dropdown("Magnify", list(_MAGNIFICATIONS.items())),
        "across": _slider("Across, %", 0, 100, 1, 50),
        "down": _slider("Down, %", 0, 100, 1, 50),
        "reset": ipywidgets.Button(description="Reset view"),
    }


def _dropdown(description: str, options: list[tuple[str, Any]], **more: Any) -> ipywidgets.Dropdown:
    layout = Layout(width="max-content", max_width=_WHOLE_WIDTH)
    return ipywidgets.Dropdown(options=options, description=description, layout=layout, **more)


def _slider(
    description: str, low: float, high: float, step: float, value: float
) -> ipywidgets.FloatSlider:
    """A slider that reacts while it is dragged; the front end waits for one picture at a time."""
    return ipywidgets.FloatSlider(
        value=value, min=low, max=high, step=step, description=description,
        readout_format=".2f" if step < 1 else ".0f",
        layout=Layout(width="20em", max_width=_WHOLE_WIDTH),
    )  # fmt: skip


def _row(*children: ipywidgets.Widget) -> ipywidgets.Box:
    return ipywidgets.Box(children, layout=Layout(flex_flow="row wrap"))


def _image(picture: np.ndarray, alternative: str) -> str:
    """An element that draws a picture in the size `SIZE`.

    Enlarged pixels are squares of their exact colour, in PNG; else JPEG takes a tenth of the time.
    """
    height, width = picture.shape[:2]
    enlarged = SIZE / max(height, width)
    kind, options = ("png", []) if enlarged >= 2 else ("jpeg", _JPEG)
    _, content = cv2.imencode(f".{kind}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    source = base64.b64encode(content).decode()
    return (
        f'<img alt="{escape(alternative)}" width="{round(width * enlarged)}" '
        f'height="{round(height * enlarged)}" decoding="sync" style="max-width: 100%; '
        f'height: auto; image-rendering: pixelated" src="data:image/{kind};base64,{source}">'
    )


def _decision_table(table: pd.DataFrame, run: str) -> str:
    heads = ("class", "label", "predicted", "probability", "threshold", "verdict")
    rows = []
    for entry in table.itertuples():
        verdict, shade = _VERDICTS[bool(entry.label), bool(entry.predicted)]
        yes_or_no = ["yes" if value else "no" for value in (entry.label, entry.predicted)]
        numbers = [f"{value:.3f}" for value in (entry.probability, entry.threshold)]
        rows.append(
            f'<tr><th scope="row" style="text-align: left">{escape(entry.Index)}</th>'
            + "".join(f"<td>{text}</td>" for text in (*yes_or_no, *numbers))
            + f'<td style="border-left: 0.5em solid {shade}; text-align: left">{verdict}</td></tr>'
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    others = len(CLASS_NAMES) - len(table)
    return (
        f"<div>Labels, and what {escape(run)} predicts. The other {others} classes lie further "
        "below their thresholds, rightly.</div>"
        '<div style="overflow-x: auto; width: 0; min-width: 100%">'
        '<table aria-label="Labels and predictions">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
