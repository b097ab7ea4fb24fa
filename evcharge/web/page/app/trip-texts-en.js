// What "my trip" says in English before it is loaded; trip-en.js has the rest.

export const TRIP = {
  "trip.intro": "Say which car and where it is: the network suggests the station, and you pay, charge and get the receipt right here.",
  "trip.start": "Begin a journey",
  "trip.starting": "One moment…",
  "trip.not_loaded": "The journey could not be loaded. Check the connection and try again.",
};
