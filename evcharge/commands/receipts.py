"""Receipts as a person reads them: one with its lines, and those of a driver as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evcharge.commands import questions
from evcharge.commands.journey import Journey, instant, moment, short_minutes, tenths
from evcharge.commands.tables import Column, clean, table, width
from evcharge.outcomes import Phrase
from evcharge.utils.figures import decimal, reais

MOST_SHOWN = 10
"""How many receipts of a driver are listed."""

RECEIPT = Phrase("Recibo {id}", "Receipt {id}")
SO_FAR = Phrase("Recibo até agora {id}", "Receipt so far {id}")
WHERE = Phrase("{name}, vaga {slot}: {reason}", "{name}, slot {slot}: {reason}")
CHARGED = Phrase("{energy} kWh em {minutes}, {from_to}", "{energy} kWh in {minutes}, {from_to}")
FROM_TO = Phrase("de {start} % a {end} %", "from {start} % to {end} %")
REASONS = {
    "target": Phrase("recarga completa", "charged to the target"),
    "stopped": Phrase("interrompida pelo motorista", "stopped by the driver"),
    "idle_limit": Phrase("fim do tempo de permanência", "end of the time for a charged car"),
    "expired": Phrase("a reserva venceu", "the reservation ran out"),
    "cancelled": Phrase("reserva cancelada", "reservation given up"),
    "operator": Phrase("encerrada pelo operador", "ended by the operator"),
    "journey_ended": Phrase("jornada encerrada", "journey ended"),
}
GOES_ON = Phrase("em andamento", "goes on")
ITEMS = {
    "FLAT": Phrase("Taxa fixa", "Flat fee"),
    "ENERGY": Phrase("Energia", "Energy"),
    "TIME": Phrase("Tempo de recarga", "Charging time"),
    "PARKING_TIME": Phrase("Tempo parado", "Idle time"),
    "RESERVATION_TIME": Phrase("Reserva", "Reservation"),
    "MIN_PRICE": Phrase("Até o valor mínimo", "Up to the minimum"),
    "MAX_PRICE": Phrase("Até o valor máximo", "Down to the maximum"),
}
HEADS = Phrase("Item,Quantidade,Preço,Imposto,Valor", "Item,Quantity,Price,VAT,Sum")
TOTAL = Phrase("Total: {total}", "Total: {total}")
PAID_AHEAD = Phrase("pago adiantado: {paid}", "paid ahead: {paid}")
GIVEN_BACK = Phrase("devolvido: {difference}", "given back: {difference}")
CHARGED_LATER = Phrase("cobrado no fim: {difference}", "charged at the end: {difference}")

NONE_YET = Phrase("Ainda não há recibos.", "There are no receipts yet.")
HISTORY_HEADS = Phrase("#,Fim,Posto,kWh,Recarga,Total", "#,Ended,Station,kWh,Charging,Total")
MORE = Phrase("… e outros, mais antigos.", "… and others, older ones.")
ASK_RECEIPT = Phrase("Qual recibo você quer ver? 0: nenhum", "Which receipt to see? 0: none")
RECEIPTS_ALLOWED = Phrase("um número de 0 a {count}", "a number from 0 to {count}")


def show_receipt(journey: Journey, receipt: Mapping[str, Any]) -> None:
    """Show a receipt with its lines."""
    person, language = journey.person, journey.person.language
    journey.has_history = journey.has_history or receipt["final"]
    print()
    person.say(RECEIPT if receipt["final"] else SO_FAR, id=clean(receipt["receipt_id"]))
    reason = REASONS.get(receipt["end_reason"], GOES_ON)
    slot = clean(receipt["id_evse"] or "-")
    if receipt["connector"]:
        slot += f" ({clean(receipt['connector'])})"
    name = clean(receipt["name_station"] or f"#{receipt['id_station']}")
    person.say(WHERE, name=name, slot=slot, reason=reason.say(language))
    if receipt["started"] is not None and receipt["energy_kwh"] is not None:
        start, end = receipt["start_percent"], receipt["end_percent"]
        from_to = ""
        if start is not None and end is not None:
            values = {"start": tenths(start, language), "end": tenths(end, language)}
            from_to = FROM_TO.say(language, values)
        person.say(
            CHARGED,
            energy=decimal(receipt["energy_kwh"], language, 2),
            minutes=short_minutes(receipt["charge_minutes"], language),
            from_to=from_to,
        )
    for line in _lines(receipt["lines"], language):
        print(line)
    person.say(TOTAL, total=_money(journey, receipt))


def _lines(lines: Sequence[Mapping[str, Any]], language: str) -> Sequence[str]:
    if not lines:
        return []
    cells: list[list[str]] = [[], [], [], [], []]
    for line in lines:
        item = ITEMS.get(line["dimension"])
        unit = clean(line["unit"] or "")
        is_flat = not unit
        vat = line["vat"]
        row = (
            clean(line["dimension"]) if item is None else item.say(language),
            "" if is_flat else f"{decimal(line['quantity'], language, 2)} {unit}",
            "" if is_flat else f"{reais(line['price'], language)}/{unit}",
            "" if vat is None else f"{tenths(vat, language)} %",
            reais(line["incl_vat"], language),
        )
        for column, cell in zip(cells, row, strict=True):
            column.append(cell)
    heads = HEADS.say(language).split(",")
    columns = [
        Column(head, column, figures=number > 0)
        for number, (head, column) in enumerate(zip(heads, cells, strict=True))
        # Most tariffs say nothing of taxes.
        if any(column)
    ]
    return list(table(columns, width()))


def _money(journey: Journey, receipt: Mapping[str, Any]) -> str:
    """The total; and what was paid ahead, if it was, and what became of the difference."""
    language = journey.person.language
    said = [reais(receipt["total"], language)]
    if receipt["paid"]:
        said.append(PAID_AHEAD.say(language, {"paid": reais(receipt["paid"], language)}))
        difference = receipt["total"] - receipt["paid"]
        if receipt["final"] and abs(difference) >= 0.005:
            phrase = GIVEN_BACK if difference < 0 else CHARGED_LATER
            said.append(phrase.say(language, {"difference": reais(abs(difference), language)}))
    return "; ".join(said)


def receipt_so_far(journey: Journey) -> None:
    """RECEIPT of the session that there is."""
    receipt_id = journey.status["receipt_id"]
    show_receipt(journey, journey.request("RECEIPT", receipt_id=receipt_id))


def history(journey: Journey) -> None:
    """HISTORY: what the driver's sessions came to, and one of them with its lines."""
    person, language = journey.person, journey.person.language
    data = journey.request("HISTORY", driver_id=journey.driver_id, limit=MOST_SHOWN)
    receipts = data["receipts"]
    if not receipts:
        person.say(NONE_YET)
        return
    numbers = [str(number) for number in range(1, len(receipts) + 1)]
    cells = (
        numbers,
        [moment(instant(receipt["ended"]), language) for receipt in receipts],
        [receipt["name_station"] or f"#{receipt['id_station']}" for receipt in receipts],
        [_number(receipt["energy_kwh"], language) for receipt in receipts],
        [short_minutes(receipt["charge_minutes"], language) for receipt in receipts],
        [reais(receipt["total"], language) for receipt in receipts],
    )
    heads = HISTORY_HEADS.say(language).split(",")
    columns = [
        Column(head, column, figures=number not in (1, 2))
        for number, (head, column) in enumerate(zip(heads, cells, strict=True))
    ]
    print()
    for line in table(columns, width()):
        print(line)
    if data["more"]:
        person.say(MORE)
    read = questions.one_or_none(numbers)
    chosen = person.ask(ASK_RECEIPT, "0", read, RECEIPTS_ALLOWED, count=len(receipts))
    if chosen:
        show_receipt(journey, receipts[chosen - 1])


def _number(value: float | None, language: str) -> str:
    # What is not known is not 0.
    return "-" if value is None else decimal(value, language, 2)
