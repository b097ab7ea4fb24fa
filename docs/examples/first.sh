#!/bin/sh
# A driver pays for a slot, with curl and jq: sh first.sh

ask() {
    curl -s -H 'content-type: application/json' -d "$2" "http://127.0.0.1:8080/api/v1/$1"
}

car='{"user_name": "Ana", "selected_car": "Tesla Model 3", "battery_car": 40}'
ana=$(ask login "$car" | jq -r .data.user_id)
here='{"latitude": -12.2664, "longitude": -38.9663}'
found=$(ask selection-station '{"user_id": "'"$ana"'", "position": '"$here"'}')
printf '%s\n' "$found" | jq -r .data.message
station=$(printf '%s\n' "$found" | jq .data.id_station)
ask payment '{"user_id": "'"$ana"'", "id_station": '"$station"', "confirmation": true}' |
    jq -r .data.message
