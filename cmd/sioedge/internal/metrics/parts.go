package metrics

import (
	"fmt"
	"strconv"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/declare"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/webhook"
)

// auth is who clients are.
func auth(c *catalogue) {
	c.in("Identity")
	c.counter("auth_sockets", "Sockets that were let in: of somebody, or of nobody where that may be.", result).field("Auth.Admitted", "user").field("Auth.Anonymous", "anonymous")
	refused := c.counter("auth_refused", "Sockets, and new tokens of live ones, that were not believed.", reason)
	for _, why := range identity.Reasons() {
		refused.of(authPart, func(x *seen) float64 { return float64(x.Auth.Refused[why]) }, string(why))
	}
	c.counter("auth_tokens", "Tokens that were verified: by a key, or known from before.", result).field("Auth.Verified", "verified").field("Auth.Cached", "cached")
	c.counter("auth_live", "What became of the tokens of live sockets.", one("change")).field("Auth.Refreshed", "refreshed").
		field("Auth.Warned", "warned").field("Auth.Expired", "expired").field("Auth.Cast", "revoked")
	c.gauge("auth_revocations", "Revocations that are in force.").field("Auth.Revocations")
	c.counter("auth_revocations_full", "Revocations that are not in force, since there were too many.").field("Auth.RevocationsFull")
	c.gauge("auth_cache_entries", "Tokens that are known.").field("Auth.CacheEntries")
	c.gauge("auth_cache_bytes", "Memory, in bytes, of tokens that are known, about.").field("Auth.CacheBytes")
	c.gauge("jwks_keys", "Keys of the JWKS server.").field("Auth.Keys")
	c.gauge("jwks_success_timestamp_seconds", "When the JWKS server was last asked with success, in Unix time; 0: never.").of(authPart, func(x *seen) float64 {
		if x.Auth.KeysSince.IsZero() {
			return 0
		}
		return float64(x.Auth.KeysSince.UnixMilli()) / 1e3
	})
	c.counter("jwks_requests", "Requests to the JWKS server.", result).field("Auth.JWKSFetched", "success").field("Auth.JWKSFailed", "failure")
}

// limits are rates, and users' connections.
func limits(c *catalogue) {
	c.in("Limits and memory")
	x := c.counter("rate_limited", "Events and acknowledgements of clients that were over a rate: of all namespaces, of one, or of an event.", one("scope"), one("action"))
	for _, of := range [][2]string{{"events", "Events"}, {"bytes", "Bytes"}, {"event", "Event"},
		{"namespace_events", "NamespaceEvents"}, {"namespace_bytes", "NamespaceBytes"}, {"namespace_event", "NamespaceEvent"}} {
		for _, a := range [][2]string{{"delay", "Delayed"}, {"nack", "Nacked"}, {"drop", "Dropped"}, {"close", "Closed"}} {
			x.field("Limits."+of[1]+"."+a[1], of[0], a[0])
		}
	}
	c.gauge("rate_buckets", "Sockets that have used up something of a rate, or had a moment ago.").field("Limits.Buckets")
	c.gauge("user_seats", "Users whose connections are counted, and those of a namespace.").field("Limits.Seats")
	c.gauge("memory_used_bytes", "Memory, in bytes, that the process used when that was last looked at: 0 without limits.memory.").field("Server.Memory")
	c.gauge("memory_limit_bytes", "Memory, in bytes, above which new clients are refused: limits.memory; 0: none.").field("Server.MemoryLimit")
	c.gauge("memory_short", "Whether new clients are refused, as there is too little memory.").field("Server.MemoryShort")
	c.gauge("memory_pressure", "sioedge_memory_used_bytes as a part of sioedge_memory_limit_bytes: above 1, new clients are refused and volatile events dropped.").
		of(serverPart, func(x *seen) float64 { return ratio(float64(x.Server.Memory), float64(x.Server.MemoryLimit)) })
}

// rules are the declarations of namespaces.
func rules(c *catalogue) {
	c.in("Rules of namespaces")
	c.gauge("declared_namespaces", "Namespaces that are declared.").field("Rules.Namespaces")
	c.dynamic(rulesPart, c.counter("rule_refusals", "What rules refused: clients, events and rooms. What a namespace has not refused yet is not there.", route, one("reason", declare.Refusals()...)), func(x *seen, s *series) {
		for _, r := range x.Rules.Refused {
			s.set(float64(r.Count), r.Namespace, r.Reason)
		}
	})
}

// presenceOf is who is in rooms.
func presenceOf(c *catalogue) {
	c.in("Presence and roster")
	c.gauge("presence_rooms", "Rooms of the cluster with presence.").field("Presence.Rooms")
	c.gauge("presence_members", "Users in rooms of the cluster with presence.").field("Presence.Members")
	c.gauge("presence_nodes", "Other servers with presence that are known.").field("Presence.Servers")
	c.gauge("presence_events_waiting", "Events of presence that are to be emitted.").field("Presence.Waiting")
	c.counter("presence_changes", "Who came to rooms and went, as rooms were told.", one("change")).field("Presence.Joins", "join").field("Presence.Leaves", "leave")
	c.counter("presence_refused", "Members that are not shown, since there are too many, or for their names.").field("Presence.Refused")
	c.counter("presence_nodes_lost", "Servers with presence that fell silent.").field("Presence.Lost")
	c.counter("presence_resyncs", "What servers said of what they had missed of each other.", one("dir")).field("Presence.Asked", "asked").field("Presence.Answered", "answered")
	c.counter("presence_failures", "What presence could not do, or did not understand.", reason).field("Presence.Failed", "emit").
		field("Presence.Strays", "stray").field("Presence.Strangers", "strangers")

	c.gauge("roster_entries", "Sockets that backends are told about.", one("state")).field("Roster.Entries", "here").field("Roster.Copied", "elsewhere").
		field("Roster.Waiting", "may_come_back").field("Roster.Queued", "to_be_told").field("Roster.Telling", "being_told")
	c.gauge("roster_nodes", "Other servers with a roster that are known, and those of them that keep this one's.", one("role")).field("Roster.Servers", "known").field("Roster.Keepers", "keeper")
	c.counter("roster_told", "Sockets that backends were told about: that they came, went, or were there after all.", one("change")).
		field("Roster.Connected", "connected").field("Roster.Disconnected", "disconnected").field("Roster.Again", "again")
	c.counter("roster_recovered", "Sockets whose clients came back unnoticed.").field("Roster.Recovered")
	c.counter("roster_retried", "Disconnects that were lost on their way to a backend, and tried again.").field("Roster.Retried")
	c.counter("roster_dropped", "What backends are not told.", reason).field("Roster.Refused", "max_entries").field("Roster.Unkept", "max_entries_of_others").
		field("Roster.Dropped", "too_old").field("Roster.Nobody", "no_backend").field("Roster.Roomless", "too_many_rooms")
	c.counter("roster_nodes_changed", "Servers that fell silent, whose sockets are told to be lost, and that were not lost after all.", one("change")).field("Roster.Lost", "lost").field("Roster.Back", "back")
	c.counter("roster_rows", "Changes of rosters that servers told each other.", one("dir")).field("Roster.Rows", "out").field("Roster.RowsHeard", "in")
	c.counter("roster_failures", "What rosters could not tell each other, or did not understand.", reason).field("Roster.Strays", "stray").field("Roster.Unclaimed", "unclaimed").
		field("Roster.Resyncs", "resync").field("Roster.Unsaid", "unsaid").field("Roster.Strangers", "strangers")
}

// webhooks are what backends are asked and told.
func webhooks(c *catalogue) {
	c.in("Webhooks")
	kinds := [...][2]string{{"connect", "Connects"}, {"batch", "Others"}}
	requests := c.counter("webhook_requests", "Requests to backends, about clients that want in (connect) and all others (batch), by what became of them.", backend, one("type"), one("code"))
	items := c.counter("webhook_items", "What was in requests to backends, each as often as it was sent.", backend, one("type"))
	size := c.counter("webhook_request_bytes", "Bytes of the bodies of requests to backends.", backend, one("type"))
	took := c.histogram("webhook_duration_seconds", "How long requests to backends took.", backend, one("type"))
	for _, k := range kinds {
		for i, o := range webhook.Outcomes() {
			requests.field(fmt.Sprintf("Backend.%s.Outcomes[%d]", k[1], i), k[0], o.String())
		}
		items.field("Backend."+k[1]+".Items", k[0])
		size.field("Backend."+k[1]+".Bytes", k[0])
	}
	c.dynamicEach(backendPart, took, func(x *seen, s *series, name string) {
		for i, r := range [...]*webhook.Requests{&x.Backend.Connects, &x.Backend.Others} {
			s.observed(webhookSeconds, r.Seconds[:], r.Took.Seconds(), name, kinds[i][0])
		}
	})
	took.labels[1].values = []string{"connect", "batch"}
	c.dynamicEach(backendPart, c.histogram("webhook_batch_size", "How many items were in requests to backends but for those about clients that want in.", backend), func(x *seen, s *series, name string) {
		s.observed(webhookSizes, x.Backend.Others.Sizes[:], float64(x.Backend.Others.Items), name)
	})
	c.gauge("webhook_inflight", "Requests to backends that are under way.", backend).field("Backend.Inflight")
	c.gauge("webhook_queue", "Requests to backends whose turn has not come.", backend).field("Backend.Waiting")
	c.gauge("webhook_queue_bytes", "Bytes of what waits for backends, and of requests under way.", backend).field("Backend.Queued")
	c.gauge("webhook_breaker_state", "The breaker of a backend: 0 closed, 1 half-open, 2 open.", backend).field("Backend.Breaker")
	c.counter("webhook_breaker_opened", "Times that the breaker of a backend was opened.", backend).field("Backend.Opened")
	told := c.counter("webhook_told", "What backends have been told.", backend, one("kind"))
	for k := range action.Kinds {
		told.field(fmt.Sprintf("Backend.Told[%d]", k), k.String())
	}
	dropped := c.counter("webhook_dropped", "What backends have not been told, and never will.", backend, reason)
	undecided := c.counter("webhook_undecided", "Clients about whom a backend has said nothing: on_error says what becomes of them.", backend, reason)
	for _, l := range webhook.Losses() {
		dropped.of(backendPart, func(x *seen) (n float64) {
			for k := range x.Backend.Lost {
				n += float64(x.Backend.Lost[k][l])
			}
			return n
		}, l.String())
		undecided.field(fmt.Sprintf("Backend.Undecided[%d]", l), l.String())
	}
	c.counter("webhook_connects", "Clients that want in, by what a backend says.", backend, result).field("Backend.Admitted", "admitted").field("Backend.Refused", "refused")
	c.gauge("webhook_cache_entries", "Answers about clients that are known.", backend).field("Backend.CacheEntries")
	c.counter("webhook_cache_hits", "Clients that were answered without a request.", backend).field("Backend.CacheHits")
	c.counter("webhook_cache_evicted", "Answers about clients that were forgotten before their time.", backend).field("Backend.CacheEvicted")
	c.counter("webhook_paused_events", "Events that found no room on their way to a backend, and waited with their clients.", backend).field("Backend.Paused")
	c.gauge("webhook_paused_now", "Events that wait with their clients for room on the way to a backend.", backend).field("Backend.PausedNow")
	c.counter("webhook_unacknowledged", "Acknowledgements that clients wait for in vain.", backend).field("Backend.Unacknowledged")
	c.counter("webhook_results_refused", "Answers of backends, and results in them, that came to nothing.", backend, reason).
		field("Backend.Garbled", "garbled").field("Backend.Faulty", "faulty").field("Backend.Unknown", "unknown").
		field("Backend.LeftAlready", "left").field("Backend.Undone", "undone")
	c.counter("webhook_panics", "Panics while a backend was asked.", backend).field("Backend.Panics")
}

// webhookSeconds are the bounds of the buckets of webhook.Requests.
var webhookSeconds = func() (all []float64) {
	for _, d := range webhook.Buckets {
		all = append(all, d.Seconds())
	}
	return all
}()

// webhookSizes are those of webhook.Requests.Sizes.
var webhookSizes = func() (all []float64) {
	for _, n := range webhook.Sizes {
		all = append(all, float64(n))
	}
	return all
}()

// statusOf are how the API's counts call what is no status.
var statusOf = map[int]string{499: "cut", 0: "other"}

// apiOf is the HTTP API.
func apiOf(c *catalogue) {
	c.in("HTTP API")
	endpoint := label{name: "endpoint", from: "what the OpenAPI document calls the endpoint (operationId); none: there is no such path"}
	code := label{name: "code", from: "HTTP status of the answer; cut: cut off, other: a rare one"}
	c.dynamic(apiPart, c.counter("api_requests", "Requests of the HTTP API. Codes that an endpoint has not answered yet are not there.", endpoint, code), func(x *seen, s *series) {
		for i := range x.API.Endpoints {
			e := &x.API.Endpoints[i]
			for status, n := range e.Codes {
				text := statusOf[status]
				if text == "" {
					text = strconv.Itoa(status)
				}
				s.set(float64(n), e.Name, text)
			}
		}
	})
	c.dynamic(apiPart, c.histogram("api_duration_seconds", "How long requests of the HTTP API took, streams left out as they last. Endpoints that nobody has asked yet are not there.", endpoint).whereAny(), func(x *seen, s *series) {
		for i := range x.API.Endpoints {
			if e := &x.API.Endpoints[i]; e.Name != "stream" {
				s.observed(api.Bounds[:], e.Buckets, e.Seconds, e.Name)
			}
		}
	})
	c.counter("api_refused", "Requests of the HTTP API without a right key, of addresses that have had too many of these, and those whose key had too many under way.", reason).
		field("API.Throttled", "throttled").field("API.Busy", "busy")
	c.gauge("api_streams", "Streams of the HTTP API that are open.").field("API.Streams")
	c.counter("api_commands", "Commands of streams of the HTTP API.").field("API.Commands")
	c.counter("api_commands_failed", "Commands of streams of the HTTP API that were answered with an error.").field("API.Wrong")
	c.counter("api_replayed", "Commands that had been done before, by their idempotency keys.").field("API.Replayed")
	c.gauge("api_idempotency_keys", "Idempotency keys that are known.").field("API.Known")
	c.gauge("api_idempotency_keys_bytes", "Memory, in bytes, of idempotency keys, about.").field("API.KnownSize")
	c.counter("api_idempotency_keys_forgotten", "Idempotency keys that were forgotten before their time.").field("API.Forgotten")
	c.gauge("api_room_data", "Rooms with which something is stored by way of the HTTP API.").field("API.RoomData.Rooms")
	c.gauge("api_room_data_bytes", "Memory, in bytes, of what is stored with rooms.").field("API.RoomData.Bytes")
	c.counter("api_room_data_refused", "What was not stored with rooms, for api.max_room_data.").field("API.RoomData.Refused")
	c.counter("api_questions", "What servers asked each other for the HTTP API.", result).field("API.Questions.Asked", "asked").
		field("API.Questions.Incomplete", "incomplete").field("API.Questions.Answered", "answered_for_others")
}

// adminOf is the page for operators.
func adminOf(c *catalogue) {
	c.in("Page for operators")
	c.counter("admin_logins", "Logins to the page for operators: throttled are those after too many that were wrong.", result).
		field("Admin.LoggedIn", "ok").field("Admin.Wrong", "wrong").field("Admin.Throttled", "throttled")
	c.counter("admin_refused", "Requests for the page for operators by other pages, and for hosts that are not its own.", reason).
		field("Admin.Foreign", "foreign").field("Admin.Misnamed", "host")
	c.gauge("admin_sessions", "Sessions of operators.").field("Admin.Sessions")
	c.counter("admin_sessions_evicted", "Sessions of operators that have ended for others.").field("Admin.Evicted")
	c.gauge("admin_traces", "Traces that are under way.").field("Admin.Traces")
	c.counter("admin_traces_started", "Traces that were begun, and those that were not since too many were under way.", result).field("Admin.Traced", "ok").field("Admin.Untraced", "refused")
	c.counter("admin_trace_lines_left_out", "Lines of traces that were left out, since there were too many.").field("Admin.LeftOut")
	c.gauge("adminui_pages", "Pages of the Admin UI that are connected here.").field("AdminUI.Pages")
	c.gauge("adminui_observing", "Whether sockets are observed for pages of the Admin UI, here or elsewhere.").field("AdminUI.Observing")
	c.counter("adminui_logins", "Pages of the Admin UI that wanted in.", result).field("AdminUI.Logins", "ok").field("AdminUI.Refused", "refused")
	c.counter("adminui_acts", "What pages of the Admin UI wanted done.", result).field("AdminUI.Acts", "done").field("AdminUI.Malformed", "malformed")
	c.counter("adminui_events_dropped", "Events that pages of the Admin UI were not sent, since there were too many.").field("AdminUI.Lost")
}
