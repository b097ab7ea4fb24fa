#!/bin/sh
# A driver's journey with curl and jq: sh journey.sh [ADDRESS]
server=${1:-http://127.0.0.1:8080}

ask() {
    curl -s -H 'content-type: application/json' -H 'accept-language: en' -d "$2" "$server/api/v1/$1"
}
of() {
    printf '%s\n' "$2" | jq -r ".data.$1"
}

login=$(ask login '{"user_name": "Ana", "selected_car": "Tesla Model 3", "battery_car": 40}')
ana=$(of user_id "$login")
here='{"latitude": -12.2664, "longitude": -38.9663}'
found=$(ask selection-station '{"user_id": "'"$ana"'", "position": '"$here"'}')
of message "$found"
station=$(of id_station "$found")
[ "$station" != null ] || exit
paid=$(ask payment '{"user_id": "'"$ana"'", "id_station": "'"$station"'", "confirmation": true}')
of message "$paid"
sleep 3
now=$(ask status '{"user_id": "'"$ana"'"}')
echo "$(of state "$now"): $(of battery_percent "$now") % after $(of energy_kwh "$now") kWh"
left=$(ask stop '{"user_id": "'"$ana"'", "receipt_id": "'"$(of receipt_id "$paid")"'"}')
of message "$left"
