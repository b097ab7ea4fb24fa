// What "my trip" says in Portuguese before it is loaded; trip-pt.js has the rest.

export const TRIP = {
  "trip.intro": "Diga qual é o carro e onde ele está: a rede indica o posto, e você paga, recarrega e recebe o recibo aqui mesmo.",
  "trip.start": "Começar uma jornada",
  "trip.starting": "Um momento…",
  "trip.not_loaded": "Não deu para carregar a jornada. Veja a conexão e tente de novo.",
};
