"""Pays, charges for three seconds, leaves, and prints the receipt: python3 receipt.py"""

import time

from driver import Driver

ana = Driver()
ana.log_in("Ana", 40)
paid = ana.pay()
time.sleep(3)
bill = ana.ask("STOP", user_id=ana.user_id, receipt_id=paid["receipt_id"])
print(bill["message"])
for line in bill["lines"]:
    quantity = f"{line['quantity']} {line['unit']}"
    print(f"{line['dimension']}: {quantity} x {line['price']} = {line['incl_vat']}")
print(f"{bill['paid']:.2f} - {bill['total']:.2f} = {bill['paid'] - bill['total']:.2f}")

history = ana.ask("HISTORY", driver_id=ana.user_id)
for receipt in history["receipts"]:
    print(receipt["name_station"], receipt["total"])
