//! What the compiler refuses of a connector. Each case stands beside a twin that differs in nothing else and compiles,
//! so that it cannot be refused for another reason.

/// A connector whose routes are `$routes`, with `$handler`.
macro_rules! connector {
    ($language:literal, $routes:literal, $handler:literal) => {
        concat!(
            "```",
            $language,
            "
            use servo_dispatch::*;
            use servo_messages::EventError;
            use std::sync::Arc;

            #[derive(Debug)]
            struct Count;

            impl Event for Count {
                type Output = u64;
                const NAME: &'static str = \"count\";
                const CATEGORY: Category = Category::Custom;
            }

            struct Counter;

            #[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
            struct CounterConfig {}

            impl Connector for Counter {
                type Config = CounterConfig;
                const METADATA: Metadata = Metadata::new(\"counter\", \"Counter\", \"0.1.0\");

                fn build(_: Arc<CounterConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
                    Ok(Counter)
                }

                fn routes(_: &CounterConfig, routes: &mut Routes<Self>) {",
            $routes,
            "   }
            }
            ",
            $handler,
            "\n```"
        )
    };
}

macro_rules! refused {
    ($case:ident: $routes:literal, $handler:literal; but not $good_routes:literal, $good_handler:literal) => {
        #[doc = connector!("compile_fail", $routes, $handler)]
        #[doc = connector!("", $good_routes, $good_handler)]
        mod $case {}
    };
}

refused! {
    a_handler_that_answers_with_another_type_than_its_event_has:
    "routes.on::<Count>();",
    "impl On<Count> for Counter {
        async fn on(&self, _: &Count, _: &HandlerContext) -> Result<String, EventError> {
            Ok(\"one\".to_owned())
        }
    }";
    but not
    "routes.on::<Count>();",
    "impl On<Count> for Counter {
        async fn on(&self, _: &Count, _: &HandlerContext) -> Result<u64, EventError> {
            Ok(1)
        }
    }"
}

refused! {
    a_route_to_a_handler_that_is_not_there:
    "routes.on::<Count>();",
    "";
    but not
    "",
    ""
}

refused! {
    a_function_that_answers_with_another_type:
    "routes.on_with::<Count, _, _>(|_, _, _| async { Ok(Some(\"one\")) });",
    "";
    but not
    "routes.on_with::<Count, _, _>(|_, _, _| async { Ok(Some(1)) });",
    ""
}

refused! {
    a_before_handler_that_answers:
    "routes.before_with::<Count, _, _>(|_, _, _| async { Ok(1) });",
    "";
    but not
    "routes.before_with::<Count, _, _>(|_, _, _| async { Ok(()) });",
    ""
}

refused! {
    a_veto_once_the_event_happens:
    "routes.on_with::<Count, _, _>(|_, _, _| async { Err(BeforeError::veto(\"no\")) });",
    "";
    but not
    "routes.before_with::<Count, _, _>(|_, _, _| async { Err(BeforeError::veto(\"no\")) });",
    ""
}
