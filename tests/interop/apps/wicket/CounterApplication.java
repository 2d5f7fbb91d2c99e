import org.apache.wicket.Page;
import org.apache.wicket.RuntimeConfigurationType;
import org.apache.wicket.protocol.http.WebApplication;

/** Wicket as it comes, but for the policy that would forbid the test's inline scripts. */
public class CounterApplication extends WebApplication {
  @Override
  protected void init() {
    super.init();
    getCspSettings().blocking().disabled();
  }

  @Override
  public Class<? extends Page> getHomePage() {
    return CounterPage.class;
  }

  @Override
  public RuntimeConfigurationType getConfigurationType() {
    return RuntimeConfigurationType.DEPLOYMENT;
  }
}
