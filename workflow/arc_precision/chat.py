"""A chat through a model's chat template."""

from dataclasses import astuple
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from arc_precision.prompt_templates import Chat

if TYPE_CHECKING:  # seconds of imports that a process without a tokenizer does not need
    from transformers import PreTrainedTokenizerBase

# The date for chat templates that write one: Llama 3.2's own template writes this date if it cannot ask for the day.
PROMPT_DATE = datetime(2024, 7, 26)


def chat_prompt(chat: Chat, tokenizer: "PreTrainedTokenizerBase", prompt: str) -> str:
    """The chat up to the point where the model continues: in the answer that the chat begins, or in a new one.

    If the model's template has no system's turn (Gemma, Mistral), the system text begins the user's turn. A template
    that asks for the date gets `PROMPT_DATE`, so that a prompt is the same on every day.

    Args:
        prompt: its name in the configuration, for messages.

    Raises:
        ValueError: the tokenizer has no chat template, or the template cannot hold the chat.
    """
    return _rendered(chat, tokenizer, prompt)[0]


def chat_facts(chat: Chat, tokenizer: "PreTrainedTokenizerBase", prompt: str) -> dict[str, Any]:
    """How the model's template is used: the date in its prompts (None: it asks for none), and the turn that holds the
    system text (None: there is none).

    Raises:
        ValueError: as `chat_prompt`.
    """
    _, system_turn = _rendered(chat, tokenizer, prompt)
    dated = "strftime_now" in tokenizer.get_chat_template()
    return {
        "date": PROMPT_DATE.date().isoformat() if dated else None,
        "system_text_in": None if chat.system is None else system_turn,
    }


def _rendered(chat: Chat, tokenizer: "PreTrainedTokenizerBase", prompt: str) -> tuple[str, Literal["system", "user"]]:
    """The prompt, and the turn that holds the system text."""
    where = f"{tokenizer.name_or_path}: the tokenizer"
    instead = "take the folder of an instruction-tuned model, or write prompt: dsl for the embedded one"
    if tokenizer.chat_template is None:
        raise ValueError(f"{where} has no chat template, which model.prompt: {prompt} needs; {instead}")
    fault = "it leaves out a part of the chat"
    for turn, messages in _ways(chat):
        begun = chat.assistant is not None
        try:
            text = tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                continue_final_message=begun,
                add_generation_prompt=not begun,
                strftime_now=PROMPT_DATE.strftime,
            )
        except Exception as error:  # a template is a program: it may raise anything
            fault = str(error).splitlines()[0] if str(error) else type(error).__name__
            continue
        # Some templates silently skip a role that they do not know.
        if all(text.count(part.strip()) == 1 for part in astuple(chat) if part):
            return text, turn
    raise ValueError(f"{where}'s chat template cannot be used with model.prompt: {prompt}: {fault}; {instead}")


def _ways(chat: Chat) -> list[tuple[Literal["system", "user"], list[dict[str, str]]]]:
    """The messages with the system's turn, and with its text in the user's."""
    answer = [] if chat.assistant is None else [{"role": "assistant", "content": chat.assistant}]
    user = {"role": "user", "content": chat.user}
    if chat.system is None:
        return [("user", [user, *answer])]
    system = {"role": "system", "content": chat.system}
    joined = {"role": "user", "content": f"{chat.system}\n\n{chat.user}"}
    return [("system", [system, user, *answer]), ("user", [joined, *answer])]
