"""Numbers, intervals and differences in words, the same in every sentence."""

import pandas as pd


def number(value: float, digits: int = 3) -> str:
    """A number with a true minus sign, and none before 0."""
    return f"{value:z.{digits}f}".replace("-", "−")


def percent(share: float) -> str:
    """A share from 0 to 1 in percent."""
    return f"{100 * share:.4g} %"


def difference(
    row: pd.Series,
    first: str,
    second: str,
    name: str,
    level: float,
    higher_is_better: bool = True,
) -> str:
    """Say which of two is better by how much, or that it can't be told.

    Args:
        row: estimate (first minus second), low and high; NaN where undefined.
        first: Name of the first.
        second: Name of the second.
        name: What is compared.
        level: Confidence level of the interval, between 0 and 1.
        higher_is_better: Whether a higher value is better; false for a loss.
    """
    estimate, low, high = row["estimate"], row["low"], row["high"]
    if pd.isna(estimate):
        return (
            f"{first} and {second} can't be compared in {name}: it is undefined on these samples."
        )
    if low == estimate == high == 0:
        return f"{first} and {second} have the same {name} in every resample."
    if low <= 0 <= high:
        interval = with_interval(estimate, low, high, level)
        return (
            f"The data do not tell which is better in {name}: {first} minus {second} is {interval}."
        )
    if high < 0:
        first, second, estimate, low, high = second, first, -estimate, -high, -low
    interval = with_interval(estimate, low, high, level)
    if higher_is_better:
        return f"{first} is better than {second} in {name} by {interval}."
    return f"{second} is better than {first} in {name}, where lower is better, by {interval}."


def classes(count: int) -> str:
    """A number of classes."""
    return "1 class" if count == 1 else f"{count} classes"


def numbers(*values: float) -> list[str]:
    """Numbers with three decimals, or up to six where one that is not 0 would look like 0."""
    digits = 3
    while digits < 6 and any(value and not round(value, digits) for value in values):
        digits += 1
    return [number(value, digits) for value in values]


def bracketed(estimate: float, low: float, high: float) -> str:
    """An estimate with its interval in brackets, where a heading says the level."""
    estimate, low, high = numbers(estimate, low, high)
    return f"{estimate} ({low} to {high})"


def with_interval(estimate: float, low: float, high: float, level: float) -> str:
    """An estimate with its interval and the level in brackets."""
    estimate, low, high = numbers(estimate, low, high)
    return f"{estimate} ({percent(level)} interval {low} to {high})"


def capitalized(sentence: str) -> str:
    """A sentence with its first letter as a capital, the others as they are."""
    return sentence[0].upper() + sentence[1:]
