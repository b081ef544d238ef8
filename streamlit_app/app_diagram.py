"""The model as a picture: two networks, and the distributions whose parameters they compute.

Boxes of HTML, which wrap their words, stand in a row, on a narrow screen in a column, and have
the colours of the page's theme.
"""

import html
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Shape = Sequence[int | None]


class Flow(NamedTuple):
    """What the picture shows. Words may be empty, where they are not known.

    Attributes:
        x: E, the shape of one x.
        encoder: the network in words.
        features: the shape of what it gives, or None.
        posterior: the family of q(z|x).
        posterior_parameters: the shapes of its parameters, for one x.
        latent_size: D.
        prior: the family of p(z).
        decoder: the network in words.
        decoder_features: the shape of what it gives, or None.
        likelihood: the family of p(x|z).
        likelihood_parameters: the shapes of its parameters, for one z.
    """

    x: Shape
    encoder: str
    features: Shape | None
    posterior: str
    posterior_parameters: Mapping[str, Shape]
    latent_size: int
    prior: str
    decoder: str
    decoder_features: Shape | None
    likelihood: str
    likelihood_parameters: Mapping[str, Shape]


STYLE = """
<style>
.kv { display: flex; align-items: stretch; gap: .4rem; margin: 0; line-height: 1.35; }
.kv > div { display: flex; flex-direction: column; justify-content: center; text-align: center; }
.kv .stack { flex: 1.3 1 0; gap: .3rem; min-width: 0; }
.kv .box, .kv .round { border: 1.5px solid currentColor; padding: .6rem .5rem; overflow-wrap: anywhere; }
.kv .box { flex: 1 1 0; border-radius: .3rem; }
.kv .round { border-radius: 1.4rem; background: color-mix(in srgb, currentColor 10%, transparent); }
.kv .dashed { border-style: dashed; background: none; }
.kv small { display: block; opacity: .75; font-size: .78rem; }
.kv .arrow { flex: 0 0 auto; font-size: .78rem; white-space: nowrap; }
.kv .arrow span::after { content: "\\2192"; display: block; font-size: 1.3rem; line-height: 1; }
@media (max-width: 900px) {
  .kv { flex-direction: column; max-width: 22rem; margin: 0 auto; }
  .kv .stack, .kv .box { flex: none; }
  .kv .arrow span::after { content: "\\2193"; display: inline; padding-left: .4rem; }
}
</style>
"""


def picture(flow: Flow) -> str:
    """The HTML of the picture, with what it says in words for those who do not see it."""
    d = [flow.latent_size]
    parts = [
        _arrow("x", flow.x),
        _box("box", "encoder", flow.encoder),
        _arrow("features", flow.features),
        '<div class="stack">'
        + _box("round", "q(z|x)", flow.posterior, *_lines(flow.posterior_parameters))
        + "<small>KL(q(z|x) ‖ p(z))</small>"
        + _box("round dashed", "p(z)", flow.prior)
        + "</div>",
        _arrow("z", d),
        _box("box", "decoder", flow.decoder),
        _arrow("features", flow.decoder_features),
        '<div class="stack">'
        + _box("round", "p(x|z)", flow.likelihood, *_lines(flow.likelihood_parameters))
        + "<small>log p(x|z)</small></div>",
        _arrow("x", flow.x),
    ]
    said = html.escape(words(flow), quote=True)
    return f'{STYLE}<div class="kv" role="img" aria-label="{said}">{"".join(parts)}</div>'


def words(flow: Flow) -> str:
    """The picture in sentences."""
    return (
        f"x of shape {list(flow.x)} goes into the encoder{_in_words(flow.encoder)}, which computes "
        f"the parameters of q(z|x){_in_words(flow.posterior)}: "
        f"{shapes(flow.posterior_parameters)}. A draw z of {flow.latent_size} values goes into the "
        f"decoder{_in_words(flow.decoder)}, which computes the parameters of "
        f"p(x|z){_in_words(flow.likelihood)}: {shapes(flow.likelihood_parameters)}. The KL is "
        f"between q(z|x) and p(z){_in_words(flow.prior)}."
    )


def shapes(parameters: Mapping[str, Shape]) -> str:
    """Names with their shapes: `loc [8], scale_diag [8]`."""
    return ", ".join(_lines(parameters))


def _lines(parameters: Mapping[str, Shape]) -> list[str]:
    return [f"{name} {list(shape)}" for name, shape in parameters.items()]


def _in_words(said: str) -> str:
    return f", {said}" if said else ""


def _box(kind: str, title: str, *lines: str) -> str:
    small = "".join(f"<small>{html.escape(line)}</small>" for line in lines if line)
    return f'<div class="{kind}"><strong>{html.escape(title)}</strong>{small}</div>'


def _arrow(name: str, shape: Shape | None) -> str:
    said = name if shape is None else f"{name} {list(shape)}"
    return f'<div class="arrow"><span>{html.escape(said)}</span></div>'
