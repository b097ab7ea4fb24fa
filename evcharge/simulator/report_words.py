"""The sentences of the report, and what it takes for granted."""

from __future__ import annotations

from evcharge.outcomes import Phrase

REPORT = Phrase("Relatório de simulação", "Simulation report")
SUBTITLE = Phrase(
    "{days} a partir de {start} · {replications} · semente {seed} · evcharge {version}",
    "{days} from {start} · {replications} · seed {seed} · evcharge {version}",
)
DAYS = Phrase("{n} dias", "{n} days")
ONE_DAY = Phrase("1 dia", "1 day")
REPLICATIONS = Phrase("{n} replicações", "{n} replications")
ONE_REPLICATION = Phrase("1 replicação", "1 replication")

LOST = Phrase(
    "Perdem-se {lost} dos motoristas{certain}; a espera média é de {wait}.",
    "{lost} of drivers are lost{certain}; the mean wait is {wait}.",
)
NOBODY = Phrase("Ninguém veio recarregar.", "Nobody came to charge.")
INSTEAD = Phrase(
    "Com {setting} perdem-se {lost} em vez de {base} dos motoristas ({points}{certain}).",
    "With {setting}, {lost} of drivers are lost instead of {base} ({points}{certain}).",
)
NOT_APART = Phrase(
    "Com {setting} perdem-se {lost} dos motoristas, com {first} {base}: "
    "não se distinguem ({points}{certain}).",
    "With {setting}, {lost} of drivers are lost, with {first} {base}: "
    "they cannot be told apart ({points}{certain}).",
)
CERTAIN = Phrase("IC {confidence} % {low} a {high}", "{confidence} % CI {low} to {high}")
ONE_ALONE = Phrase("n = 1, sem intervalo", "n = 1, no interval")

INCOMPLETE = Phrase(
    "Incompleto: há {done} de {of} replicações. O mesmo comando continua de onde parou.",
    "Incomplete: there are {done} of {of} replications. The same command goes on from there.",
)
UNLIKE = Phrase(
    "Os dois estudos não têm os mesmos motoristas: diferem em {keys}. Por isso as diferenças entre "
    "eles são menos certas do que entre variantes de um só.",
    "The two studies do not have the same drivers: they differ in {keys}. So differences between "
    "them are less certain than between variants of one.",
)
REFUSED = Phrase(
    "O servidor recusou {refused} requisições por replicação que nenhum motorista esperava: "
    "é um defeito a investigar.",
    "The server refused {refused} requests a replication that no driver expected: "
    "a fault to look into.",
)

OF = Phrase("com {setting}", "with {setting}")
FIRST = Phrase("em vez de {value}", "instead of {value}")

PICTURES = Phrase("Figuras", "Pictures")
HOURS = Phrase("Hora a hora", "Hour by hour")
HOURS_SAID = Phrase(
    "Média das replicações; a faixa é o intervalo de {confidence} %.",
    "Mean of the replications; the band is the {confidence} % interval.",
)
DAY_MEAN = Phrase(" Média de todos os dias.", " On the mean of all days.")
HOUR = Phrase("hora do dia", "hour of the day")
PER_HOUR = Phrase("motoristas por hora", "drivers an hour")
BORN, SERVED, LOST_ONES = (
    Phrase("chegam", "come"),
    Phrase("atendidos", "served"),
    Phrase("perdidos", "lost"),
)
LOST_PER_HOUR = Phrase("perdidos por hora", "lost an hour")
MEAN_KW = Phrase("kW, média da hora", "kW, mean of the hour")
REVENUE = Phrase("receita dos recibos da hora, R$", "revenue of the hour's receipts, R$")
MEAN_QUEUE = Phrase("na fila, média da hora", "in the queue, mean of the hour")
HOURS_ALT = Phrase(
    "Linhas por hora. {panels}.",
    "Lines by the hour. {panels}.",
)
AT_MOST = Phrase(
    "{panel}: {line} no máximo {value} às {hour} h", "{panel}: {line} at most {value} at {hour} h"
)

WAITS = Phrase("Quem espera quanto", "Who waits how long")
WAITS_SAID = Phrase(
    "Parcela dos que chegaram para recarregar que esperou mais do que tantos minutos, em escala "
    "logarítmica.",
    "Share of those who came to charge who waited longer than so many minutes, on a "
    "logarithmic scale.",
)
MINUTES_WAITED = Phrase("minutos de espera", "minutes of waiting")
WAITS_ALT = Phrase(
    "{line}: {share} esperam mais de {minutes} minutos",
    "{line}: {share} wait longer than {minutes} minutes",
)

STATIONS = Phrase("Postos", "Stations")
STATIONS_SAID = Phrase(
    "Cada disco é um posto; a área é a energia vendida.",
    "Each disc is a station; its area is the energy sold.",
)
STATIONS_ALT = Phrase(
    "Utilização e parcela perdida de {n} postos; o mais usado é {most}, com {used}.",
    "Utilisation and share lost of {n} stations; the most used is {most}, at {used}.",
)
MAP = Phrase("Onde se perde", "Where drivers are lost")
MAP_SAID = Phrase(
    "Cada disco é um posto, em seu lugar; a área são os motoristas, a parte de dentro os perdidos.",
    "Each disc is a station at its place; its area is drivers, the inner part those lost.",
)
MAP_ALT = Phrase(
    "Mapa de {n} postos; mais motoristas perde {most}: {lost}.",
    "Map of {n} stations; {most} loses the most drivers: {lost}.",
)
LATITUDE, LONGITUDE = Phrase("latitude", "latitude"), Phrase("longitude", "longitude")

SWEEP = Phrase("As variantes", "The variants")
SWEEP_SAID = Phrase(
    "Parcela perdida, com o intervalo de {confidence} % de cada uma.",
    "Share lost, each with its {confidence} % interval.",
)
LOST_PER_CENT = Phrase("perdidos, %", "lost, %")
APART = Phrase("A diferença para {first}", "The difference to {first}")
APART_SAID = Phrase(
    "Os mesmos motoristas em cada variante; diferenças aos pares, intervalos de {confidence} % "
    "válidos para todas ao mesmo tempo (Bonferroni). Onde o 0 está dentro, não se distinguem.",
    "The same drivers in each variant; differences in pairs, {confidence} % intervals that hold "
    "for all at once (Bonferroni). Where 0 is inside they cannot be told apart.",
)
APART_UNLIKE = Phrase(
    "Intervalos de {confidence} % válidos para todas ao mesmo tempo (Bonferroni). Onde o 0 está "
    "dentro, não se distinguem.",
    "{confidence} % intervals that hold for all at once (Bonferroni). Where 0 is inside they "
    "cannot be told apart.",
)
LOST_POINTS = Phrase("perdidos, pontos", "lost, points")

GANTT = Phrase("Um dia em {station}", "A day at {station}")
GANTT_SAID = Phrase(
    "O posto com mais sessões, na primeira replicação: uma linha por vaga.",
    "The station with the most sessions, in the first replication: a row for each EVSE.",
)
EVSE, FROM, UNTIL, LEFT, CAR, ENERGY, PAID = (
    Phrase("vaga", "EVSE"),
    Phrase("de", "from"),
    Phrase("até", "until"),
    Phrase("saiu", "left"),
    Phrase("carro", "car"),
    Phrase("energia", "energy"),
    Phrase("pago", "paid"),
)
WAITS_LONGER = Phrase("mais de {minutes} min", "over {minutes} min")
GANTT_ALT = Phrase(
    "{sessions} recargas em {evses} vagas de {station}.",
    "{sessions} sessions at {evses} EVSEs of {station}.",
)
CHARGING, IDLE = Phrase("recarga", "charging"), Phrase("vaga ocupada depois", "idle after it")

TABLES = Phrase("Tabelas", "Tables")
THE_TABLE = Phrase("A tabela.", "The table.")
VARIANT = Phrase("variante", "variant")
COMPARED = Phrase("abaixo, a diferença para {first}", "below, the difference to {first}")
STEADY = Phrase("Regime permanente, em 20 lotes", "The steady state, in 20 batches")
STEADY_SAID = Phrase(
    "De uma só replicação longa: a média de 20 lotes, com o intervalo de {confidence} %. Onde um "
    "lote se parece com o seguinte (correlação acima de 0,2), ela é curta demais para o intervalo.",
    "Of one long replication: the mean of 20 batches, with its {confidence} % interval. Where a "
    "batch is like the next one (correlation over 0.2), it is too short for the interval.",
)
OVER_BATCHES = Phrase("média dos lotes", "mean of the batches")
LAG_1 = Phrase("correlação de vizinhos", "correlation of neighbours")
TOO_SHORT = Phrase("curta demais", "too short")
NETWORK = Phrase("A rede toda, por replicação", "The whole network, a replication")
EQUAL = Phrase("igual", "the same")
SAME = Phrase("não se distingue", "cannot be told apart")
RANGE = Phrase("de {least} a {most}", "from {least} to {most}")
ZONES = Phrase("Zonas, {setting}", "Zones, {setting}")
STATIONS_OF = Phrase("Postos, {setting}", "Stations, {setting}")
FIGURE, PLACE, EVSES = (
    Phrase("valor", "figure"),
    Phrase("lugar", "place"),
    Phrase("vagas", "EVSEs"),
)

ASSUMED = Phrase("O que se supõe", "What is assumed")
ASSUMPTIONS = (
    Phrase(
        "Os números de [driver] não foram medidos em lugar nenhum: são valores de exemplo, a "
        "menos que o cenário diga de onde vêm.",
        "The numbers of [driver] were measured nowhere: they are made up, unless the scenario "
        "says where they come from.",
    ),
    Phrase(
        "O servidor é o de verdade: as mesmas regras, reservas, filas, tarifas e curvas de "
        "recarga, com um relógio virtual e dados na memória.",
        "The server is the real one: the same rules, bookings, queues, tariffs and charging "
        "curves, with a virtual clock and data in memory.",
    ),
    Phrase(
        "Uma estrada é a linha reta vezes road_factor, à mesma velocidade o dia todo: não há "
        "trânsito.",
        "A road is the straight line times road_factor, at the same speed all day: there is no "
        "traffic.",
    ),
    Phrase(
        "Quem vai a outra cidade além da autonomia recarrega na primeira parada que PLAN indica, "
        "até onde ele diz; se não há plano, não segue viagem. As outras paradas não são simuladas.",
        "Who goes to another city beyond the range charges at the first stop that PLAN names, as "
        "far as it says; without a plan nobody goes. The other stops are not simulated.",
    ),
    Phrase(
        "Recarga sem perdas, sem temperatura e sem limite da rede elétrica do posto.",
        "Charging without losses, temperature, or a limit of the station's supply.",
    ),
    Phrase(
        "Perdidos são os que desistem, deixam a oferta vencer ou não encontram posto: quem "
        "reserva e não vem não conta.",
        "Lost are those who give up, let an offer lapse or find no station: who books and never "
        "comes does not count.",
    ),
    Phrase(
        "Os intervalos são sobre as replicações (t de Student), nunca sobre motoristas juntos, "
        "que usam a mesma fila.",
        "Intervals are over replications (Student's t), never over pooled drivers, who share a "
        "queue.",
    ),
    Phrase(
        "As primeiras {warm_up} horas ficam fora de todos os números.",
        "The first {warm_up} hours are left out of every figure.",
    ),
)
SCENARIO = Phrase("O cenário", "The scenario")
ALL_VALUES = Phrase(
    "Todos os valores, também os que o arquivo não diz",
    "All values, also those that the file does not say",
)
KEY, VALUE = Phrase("chave", "key"), Phrase("valor", "value")
AGAIN = Phrase("Para repetir", "To repeat it")
AGAIN_SAID = Phrase(
    "O mesmo comando, com a mesma versão, faz os mesmos arquivos, byte por byte.",
    "The same command, with the same version, makes the same files, byte for byte.",
)
MADE_WITH = Phrase(
    "Feito com {versions}. Figuras: matplotlib {matplotlib}.",
    "Made with {versions}. Pictures: matplotlib {matplotlib}.",
)
