"""BARC's chat through a model's chat template."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # seconds of imports that a process without a tokenizer does not need
    from transformers import PreTrainedTokenizerBase

# What chat templates that write the day get: the day that Llama 3.2's own template writes where it cannot ask for one.
PROMPT_DATE = datetime(2024, 7, 26)

SYSTEM = (
    "You are a world-class puzzle solver, and you know Python programming by heart. "
    "You find the rule behind a puzzle and provide Python solutions."
)
PREFILL = (
    "Let's solve this puzzle using Python code with the common library functions. "
    "We think about the rule first, and then write the function `transform`, which takes the input grid and returns "
    "the output grid. Here is the Python code with the comments describing how to solve the problem:\n"
)
MARK = "(question)"
"""Stands for any question where the words around it are looked at."""


def chat_prompt(question: str, tokenizer: "PreTrainedTokenizerBase") -> str:
    """System, user and the beginning of the assistant's turn, which the model goes on from.

    Where the template knows no system's turn (Gemma, Mistral), that text begins the user's. A template that asks for
    the day gets `PROMPT_DATE`, so that a prompt is the same on every day.

    Raises:
        ValueError: the tokenizer has no chat template, or the template cannot hold the chat.
    """
    return _chat(question, tokenizer)[0]


def chat_facts(tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
    """How the model's template is used: the date in its prompts (None: it asks for none), and who says the system text.

    Raises:
        ValueError: as `chat_prompt`.
    """
    _, system_turn = _chat(MARK, tokenizer)
    dated = "strftime_now" in tokenizer.get_chat_template()
    return {"date": PROMPT_DATE.date().isoformat() if dated else None, "system_text_in": system_turn}


def _chat(question: str, tokenizer: "PreTrainedTokenizerBase") -> tuple[str, Literal["system", "user"]]:
    """The prompt, and in whose turn the system text is."""
    where = f"{tokenizer.name_or_path}: the tokenizer"
    instead = "take the folder of an instruction-tuned model, or write prompt: dsl for the embedded one"
    if tokenizer.chat_template is None:
        raise ValueError(f"{where} has no chat template, which model.prompt: barc needs; {instead}")
    answer = {"role": "assistant", "content": PREFILL}
    whole = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}, answer]
    without = [{"role": "user", "content": f"{SYSTEM}\n\n{question}"}, answer]
    fault = "it leaves out a part of the chat"
    for turn, messages in (("system", whole), ("user", without)):
        try:
            text = tokenizer.apply_chat_template(
                messages, tokenize=False, continue_final_message=True, strftime_now=PROMPT_DATE.strftime
            )
        except Exception as error:  # a template is a program: it may raise anything
            fault = str(error).splitlines()[0] if str(error) else type(error).__name__
            continue
        # Some templates pass over a role that they do not know.
        if all(text.count(part.strip()) == 1 for part in (SYSTEM, question, PREFILL)):
            return text, turn
    raise ValueError(f"{where}'s chat template cannot be used with model.prompt: barc: {fault}; {instead}")
