import org.apache.wicket.ajax.AjaxRequestTarget;
import org.apache.wicket.ajax.markup.html.AjaxLink;
import org.apache.wicket.markup.html.WebPage;
import org.apache.wicket.markup.html.basic.Label;
import org.apache.wicket.markup.html.form.Form;
import org.apache.wicket.markup.html.link.Link;

/** A stateful page: a counter that a link, a form and an Ajax link advance. */
public class CounterPage extends WebPage {
  private int count;

  public CounterPage() {
    Label label = new Label("count", () -> "count=" + count + ".");
    label.setOutputMarkupId(true);
    add(label);
    add(new Link<Void>("plus") {
      @Override
      public void onClick() {
        advance();
      }
    });
    add(new Form<Void>("form") {
      @Override
      protected void onSubmit() {
        advance();
      }
    });
    add(new AjaxLink<Void>("ajax") {
      @Override
      public void onClick(AjaxRequestTarget target) {
        ++count;
        target.add(label);
      }
    });
  }

  /** As a new version of the page, so that the back button leads to the former one. */
  private void advance() {
    addStateChange();
    ++count;
  }
}
