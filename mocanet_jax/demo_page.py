"""The layout of the page of demo.py: tabs, and what answers what."""

import random
import string
import time

import gradio as gr

from mocanet_jax.inference.generation import Generator, Sampling
from mocanet_jax.report import word_table
from mocanet_jax.report.page import LONGEST, CopyAnswers, TextAnswers, note
from mocanet_jax.report.pictures import BLUE, GREEN
from mocanet_jax.runtime.errors import UserError

FONT = ("system-ui", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif")
SIDE, MAIN = 2, 5
"""Widths of controls and of answers, relative."""

STYLE = f"""
.gradio-container {{ width: 100% !important; max-width: 1240px !important }}
.gradio-container {{ margin: 0 auto !important }}
.gradio-container .html-container {{ padding: 0 !important }}
footer {{ display: none !important }}
#title {{ padding: 4px 0 0 !important; font-size: 14px }}
#title b {{ font-size: 21px; margin-right: 10px }}
button.primary {{ background: {BLUE} !important; color: #fff !important }}
input[type=range] {{ accent-color: {GREEN} }}
{word_table.STYLE}
"""

LOOK = {
    "theme": gr.themes.Default(
        primary_hue="blue",
        neutral_hue="gray",
        font=FONT,
        font_mono=("ui-monospace", "DejaVu Sans Mono", "monospace"),
        radius_size=gr.themes.sizes.radius_sm,
    ),
    "css": STYLE,
    "footer_links": [],
    "run_history": False,
}
"""For gr.Blocks.launch: fonts of the system, nothing that a network is needed for."""

FILM_REVIEWS = [
    "A warm, funny film that's never less than engaging!",
    "It's not bad at all.",
    "Two hours of my life I will never get back.",
]
PAUSE = 0.1
"""Seconds between two looks at a text that is written."""

PROMPTS = {"minimum": 50, "maximum": 2000, "value": 400, "step": 50}


def build(texts: TextAnswers, copies: CopyAnswers, language: Generator | None) -> gr.Blocks:
    with gr.Blocks(title="MOCA-Net", analytics_enabled=False) as page:
        gr.HTML("<b>MOCA-Net</b> experts and memory under a compute budget", elem_id="title")
        with gr.Tab("Text"):
            _text(page, texts)
        with gr.Tab("Copy"):
            _copy(copies)
        if language is not None:
            with gr.Tab("Language"):
                _language(language)
    return page


def _price(highest: float, value: float, **settings) -> gr.Slider:
    """λ, from 0 to where every gate is closed."""
    return gr.Slider(
        0,
        round(highest, 1) or 1,
        value=round(value, 1),
        step=0.1,
        label="price of compute, λ",
        info="gates stay open where their logit is above λ times their share of the compute",
        elem_id=settings.pop("elem_id"),
        **settings,
    )


def _text(page, texts):
    samples = FILM_REVIEWS if texts.predictor.config.task == "sst2" else [""]
    with gr.Row():
        with gr.Column(scale=SIDE, min_width=300):
            text = gr.Textbox(
                samples[0], label="text", lines=3, max_lines=8, elem_id="text", submit_btn=False
            )
            button = gr.Button("Answer", variant="primary", elem_id="answer_button")
            price = _price(texts.highest, texts.multiplier, elem_id="price")
            price.interactive = texts.highest > 0
            examples = gr.Examples(samples, text, label="examples", visible=len(samples) > 1)
        with gr.Column(scale=MAIN, min_width=320):
            shown = gr.HTML(note("loading ..."), elem_id="answer")
    ask = {"fn": texts.answer, "inputs": [text, price], "outputs": shown}
    for event in (button.click, text.submit, page.load, examples.load_input_event.then):
        event(**ask, show_progress="minimal")
    price.input(**ask, show_progress="hidden", trigger_mode="always_last", queue=False)


def _copy(copies):
    with gr.Row():
        with gr.Column(scale=SIDE, min_width=300):
            text = gr.Textbox(
                "hello, memory",
                label=f"sequence, up to {LONGEST} characters",
                max_length=LONGEST,
                elem_id="sequence",
            )
            with gr.Row():
                button = gr.Button("Copy", variant="primary", elem_id="copy_button")
                chance = gr.Button("Random", elem_id="random_button")
            price = _price(1, 0, elem_id="copy_price", visible=False)
            gr.Markdown(
                "The model reads the sequence, waits, and produces it after the marker ▸, when "
                "nothing of it is visible any more. "
                + ("" if copies.is_trained else "The first copy trains the model.")
            )
        with gr.Column(scale=MAIN, min_width=320):
            shown = gr.HTML(elem_id="copied")

    def priced():
        if copies.predictor is None:
            return gr.skip()
        top, at = copies.highest, copies.predictor.multiplier
        return gr.Slider(visible=top > 0, maximum=round(top, 1) or 1, value=round(at, 1))

    first = {"fn": lambda text: (yield from copies.answers(text)), "inputs": text}
    for event in (button.click, text.submit):
        event(**first, outputs=shown, show_progress="hidden").then(priced, None, price)
    drawn = chance.click(random_sequence, None, text, queue=False)
    drawn.then(**first, outputs=shown, show_progress="hidden").then(priced, None, price)
    price.input(
        lambda text, multiplier: (yield from copies.answers(text, multiplier)),
        [text, price],
        shown,
        show_progress="hidden",
        trigger_mode="always_last",
    )


def random_sequence() -> str:
    """Of 8 to 20 letters."""
    return "".join(random.choices(string.ascii_letters, k=random.randint(8, 20)))


def _language(language):
    with gr.Row():
        with gr.Column(scale=SIDE, min_width=300):
            prompt = gr.Textbox(label="prompt", lines=3, elem_id="prompt")
            length = gr.Slider(**PROMPTS, label="tokens")
            temperature = gr.Slider(0, 1.5, value=0.8, step=0.05, label="temperature")
            seed = gr.Number(0, label="seed", precision=0, minimum=0, maximum=2**32 - 1)
            with gr.Row():
                write = gr.Button("Write", variant="primary", elem_id="write_button")
                stop = gr.Button("Stop")
        with gr.Column(scale=MAIN, min_width=320):
            shown = gr.Textbox(label="text", lines=22, max_lines=22, elem_id="written")

    def written(prompt, length, temperature, seed):
        text = prompt
        try:
            sampling = Sampling(temperature)
            shown_at = 0.0
            for piece in language.stream(prompt, sampling, int(length), int(seed)):
                text += piece
                if time.monotonic() - shown_at > PAUSE:
                    shown_at = time.monotonic()
                    yield text
            yield text
        except UserError as error:
            yield f"error: {error}"

    asked = [prompt, length, temperature, seed]
    running = [e(written, asked, shown) for e in (write.click, prompt.submit)]
    stop.click(None, cancels=running)
